"""Which model a run asked: one, of whose weights and tokenizer the results tell where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_harness.errors import UserError, quoted
from emo_harness.resources import EMBEDDED, embedded_model
from emo_harness.runs import ArmScores, AskedModel, read_runs
from emo_harness.runs.prompts import refuse_images
from emo_harness.runs.results import find_tasks
from emo_harness.runs.settings import shows_images

DOING = "finding the model of the run"
# Model arguments that make other weights of those in a folder, in ways that are not ours.
_CHANGES_WEIGHTS = ("delta", "gguf_file", "subfolder")


@dataclass(frozen=True)
class OwnModel:
    """The one model that runs asked.

    Attributes:
        scores: those of the model as it is, not steered.
        asked: what each results file tells of it.
    """

    scores: tuple[ArmScores, ...]
    asked: tuple[AskedModel, ...]

    @property
    def head(self) -> AskedModel:
        return self.asked[-1]

    @property
    def name(self) -> str:
        """For messages: what lm-eval called it, and where it came from."""
        head = self.head
        return str(head.weights or head.name or head.backend or "unknown")

    @property
    def told(self) -> str:
        """Name, revision and what stood beside it, for messages."""
        head = self.head
        beside = {
            "revision": self.revision or head.commit,
            "tokenizer": head.tokenizer,
            "adapter": head.adapter,
        }
        return ", ".join(
            [self.name, *(f"{what} {which}" for what, which in beside.items() if which)]
        )

    @property
    def place(self) -> str | None:
        """Folder or repository of the weights; None where they are on a server."""
        return _place(self.head)

    @property
    def is_served(self) -> bool:
        return self.place is None

    @property
    def revision(self) -> str | None:
        """As exactly as the run tells; of a folder there is none."""
        place = self.place
        if place is None or Path(embedded_model(place)).exists():
            return None
        head = self.head
        kind, _, commit = head.identities.get("pretrained", "").partition(" ")
        known = head.commit or (commit if kind == "commit" else "")
        return known or (head.revision if head.revision not in ("", "main") else None)


def read_model_runs(run: Path, *, images: bool = False) -> list[ArmScores]:
    """The scores of a run folder, all of one model.

    Args:
        images: also those of prompts with images beside their text.

    Raises:
        UserError: runs of several models, what `runs.read_runs` cannot read, or nothing but
            prompts with images.
    """
    tasks = find_tasks([run])
    asked = [task.facts.asked for task in tasks]
    if len({_key(one) for one in asked}) > 1 and not _are_alike(asked):
        raise _several((t.facts.asked, t.model, str(t.samples_file.parent)) for t in tasks)
    scores = read_runs([run]).scores
    if images:
        return scores
    textual = [one for one in scores if not shows_images(one.settings)]
    if scores and not textual:
        refuse_images(scores)
    return textual


def unsteered(scores: Iterable[ArmScores]) -> list[ArmScores]:
    """Leave out runs of a steered model: the model that would be read was not asked.

    Raises:
        UserError: there are no others.
    """
    found = list(scores)
    kept = [one for one in found if not is_steered(one)]
    if found and not kept:
        raise UserError(
            "reading prompts where they were asked",
            found=f"runs of a steered model alone ({found[0].settings.get('steer', 'steered')})",
            expected="a run of the model as it is",
            fix="use the run of the unsteered model; `emo compare` pairs the two",
        )
    return kept


def is_steered(one: ArmScores) -> bool:
    """Whether its model was moved while it was asked, by `emo run --steer` or by lm-eval's own."""
    return bool(one.settings.get("steer")) or one.facts.asked.is_steered


def own_model(scores: Sequence[ArmScores]) -> OwnModel:
    """The model that asked these; see `unsteered` for those that are left out.

    Raises:
        UserError: there are no scores, only steered ones, or several models'.
    """
    kept = unsteered(scores)
    if not kept:
        raise UserError(
            DOING,
            found="no scores",
            expected="a run folder with samples",
            fix="run with --log_samples and --output_path",
        )
    asked: dict[str, AskedModel] = {}
    for one in kept:
        asked.setdefault(one.facts.results_file, one.facts.asked)
    if len({_key(one) for one in asked.values()}) > 1 and not _are_alike(asked.values()):
        raise _several((one.facts.asked, one.model, _folder(one)) for one in kept)
    return OwnModel(tuple(kept), tuple(asked.values()))


def refuse_unreadable(own: OwnModel) -> str:
    """The place of the weights, where they can be loaded from what the run tells.

    Raises:
        UserError: they are on a server, were changed while they were loaded, or have gone.
    """
    head, place = own.head, own.place
    if place is None:
        raise UserError(
            DOING,
            found=f"answers of {own.name} through lm-eval's {head.backend or 'unknown'} model, "
            "whose weights are not here",
            expected="weights: what happens inside a model shows in no answer",
            fix="--model ORG/MODEL --force reads the prompts in open weights that you believe to "
            "be the same; whatever is made from it says so",
        )
    changed = [name for name in _CHANGES_WEIGHTS if head.arguments.get(name)]
    if changed:
        raise UserError(
            DOING,
            found=f"{place} with {changed[0]}={head.arguments[changed[0]]}",
            expected="weights that can be loaded as they lie in a folder or on the hub",
            fix="save the model as it was asked with save_pretrained; --model PATH names it",
        )
    if _is_folder(head, place) and not Path(embedded_model(place)).exists():
        raise UserError(
            DOING,
            found=f"no folder {place}, from which the run took its model",
            expected="the model where it was, or wherever it is now",
            fix="--model PATH names the folder that it was moved to; it is checked against the "
            "run's answers",
        )
    return place


def refuse_messages(own: OwnModel) -> None:
    """Refuse prompts of which only the messages are known, not the text that a model saw.

    Raises:
        UserError: a server put messages into its own chat template.
    """
    if any(one.settings.get("chat_template") == "messages" for one in own.scores):
        raise UserError(
            "reading the prompts of the run",
            found=f"chat messages that {own.name} got through lm-eval's {own.head.backend} model; "
            "the text that its server made of them is not known",
            expected="prompts as text",
            fix="ask open weights the same (--model hf --apply_chat_template), and name that run",
        )


def _place(asked: AskedModel) -> str | None:
    weights = asked.weights
    if asked.backend == "emo-demo" and (weights is None or not Path(weights).exists()):
        # It comes with the package, wherever that was installed.
        return "emo-demo"
    if weights and Path(weights).name in EMBEDDED.values() and not Path(weights).exists():
        return next(name for name, folder in EMBEDDED.items() if folder == Path(weights).name)
    return weights


def _is_folder(asked: AskedModel, place: str) -> bool:
    """Whether a name was a folder's rather than that of a repository on the hub."""
    had_files = asked.identities.get("pretrained", "").startswith("files ")
    return had_files or place.startswith((".", "/", "~")) or place.count("/") > 1


def _key(asked: AskedModel) -> tuple[str, ...]:
    """What differs between models; backend and dtype may."""
    place = _place(asked)
    if place is None:
        return ("served", asked.name, asked.backend)
    folder = Path(embedded_model(place))
    is_there = folder.exists()
    revision = "" if is_there else asked.commit or asked.revision
    where = str(folder.resolve()) if is_there else place
    return (where, revision, *_beside(asked))


def _beside(asked: AskedModel) -> tuple[str, str, str]:
    return (asked.tokenizer or "", asked.adapter or "", str(asked.adds_bos))


def _are_alike(asked: Iterable[AskedModel]) -> bool:
    """Whether names differ, but not what stood behind them."""
    known = [
        (one.identities.get("pretrained"), one.identities.get("peft"), *_beside(one)[:1])
        for one in asked
    ]
    return len(set(known)) == 1 and known[0][0] is not None


def _folder(one: ArmScores) -> str:
    return str(one.lines[0][0].file.parent) if one.lines else ""


def _several(runs: Iterable[tuple[AskedModel, str, str]]) -> UserError:
    """Of runs' models, their names and their folders."""
    folders: dict[str, str] = {}
    for asked, name, folder in runs:
        told = asked.weights or name
        named = f"{told}@{asked.revision}" if asked.revision not in ("", "main") else told
        folders.setdefault(named, folder)
    return UserError(
        DOING,
        found=f"runs of several models: {quoted(sorted(folders))}",
        expected="the run of one model",
        fix=f"name one model's folder: {quoted(sorted(set(folders.values())))}"
        if len(set(folders.values())) > 1
        else "move the runs of one of them into a folder of their own",
    )
