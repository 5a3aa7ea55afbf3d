"""What tells a loaded model from the one that made a run: in words, nothing where nothing does.

Three kinds of evidence, each decisive where it speaks:

- what lm-eval logged: the commit on the hub, the number of parameters, the special tokens;
- what our tasks recorded since: a hash of the model's files. Equal files are the same model; other
  files need not be another one (a copy, an added card), and are judged by
- what the model answered: see `logged_answers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from emo_harness.run_model.logged_answers import agreement
from emo_harness.run_model.own_model import OwnModel
from emo_harness.runs import AskedModel

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel

# lm-eval's models that count the parameters of the class that we load too.
_COUNTED_ALIKE = ("hf", "hf-auto", "huggingface", "emo-hf", "emo-demo")
_PARTS = {"pretrained": "weights", "tokenizer": "tokenizer", "peft": "adapter"}
_QUANTISED = ("load_in_4bit", "load_in_8bit", "autogptq", "gptqmodel", "quantization")


def differences(
    loaded: LoadedModel, own: OwnModel, here: Mapping[str, str], *, is_named: bool
) -> list[str]:
    """What differs from the model and tokenizer that made the run.

    Args:
        here: what stands behind the names that were loaded, as `AskedModel.identities`.
        is_named: the model was not loaded from where the run says, so that something must show
            that it is the same.
    """
    found = list(
        dict.fromkeys(told for asked in own.asked for told in _logged(loaded, asked, here))
    )
    if own.is_served:
        head = own.head
        found.append(f"{own.name} answered through {head.backend}, and its weights are not here")
    elif not found and all(_has_equal_files(here, asked) for asked in own.asked):
        return []
    seen = agreement(loaded, own.scores)
    if seen.differs:
        return [*found, seen.differs + _why(own)]
    if own.is_served:
        return [*found, seen.told]
    if found or seen.is_proof_of_weights:
        return found
    changed = [what for asked in own.asked for what in _changed(here, asked)]
    if changed:
        parts = " and ".join(dict.fromkeys(changed))
        return [f"the files of the {parts} are not those that the run read; {seen.told}"]
    if is_named and not seen.is_proof:
        return [f"nothing shows that it is the model of the run; {seen.told}"]
    return []


def _logged(loaded: LoadedModel, asked: AskedModel, here: Mapping[str, str]) -> Iterator[str]:
    kind, _, commit = here.get("pretrained", "").partition(" ")
    commit = commit if kind == "commit" else ""
    if commit and asked.commit and commit != asked.commit:
        yield f"commit {commit[:12]}, where the run asked {asked.commit[:12]}"
    is_counted = asked.backend in _COUNTED_ALIKE and not asked.adapter
    if is_counted and asked.n_parameters and not _is_quantised(asked):
        n_parameters = loaded.model.num_parameters()
        if n_parameters != asked.n_parameters:
            yield f"{n_parameters:,} parameters, where the run's model had {asked.n_parameters:,}"
    for name, (text, number) in asked.special_tokens.items():
        own = getattr(loaded.tokenizer, f"{name}_token", None)
        own_id = getattr(loaded.tokenizer, f"{name}_token_id", None)
        if (own, own_id) != (text, number):
            yield (
                f"a tokenizer whose {name} token is {own!r} ({own_id}), where the run's had "
                f"{text!r} ({number})"
            )


def _is_quantised(asked: AskedModel) -> bool:
    return any(asked.arguments.get(name) for name in _QUANTISED)


def _why(own: OwnModel) -> str:
    return " (the run's weights were quantised)" if _is_quantised(own.head) else ""


def _has_equal_files(here: Mapping[str, str], asked: AskedModel) -> bool:
    """Whether everything that was loaded is known to be what the run read."""
    return bool(here) and asked.identities == here


def _changed(here: Mapping[str, str], asked: AskedModel) -> Iterator[str]:
    for name, known in asked.identities.items():
        found = here.get(name, known)
        # A folder and a commit may hold the same.
        if found != known and found.split()[0] == known.split()[0]:
            yield _PARTS.get(name, name)
