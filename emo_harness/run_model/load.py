"""Loading the model of a run, and telling where it is not the one that was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emo_harness.errors import UserError
from emo_harness.model_identity import loaded_identities
from emo_harness.resources import embedded_model
from emo_harness.run_model.differences import differences
from emo_harness.run_model.own_model import (
    OwnModel,
    own_model,
    refuse_messages,
    refuse_unreadable,
)
from emo_harness.runs import ArmScores

if TYPE_CHECKING:
    from emo_harness.activations.loading import ComputedDtype, LoadedModel


@dataclass(frozen=True)
class RunModel:
    """A model to read a run's prompts in.

    Attributes:
        loaded: the model, its tokenizer and its layout.
        name: to show: a repository, or a folder's own name.
        is_same: nothing tells it from the model and tokenizer that made the run.
        forced: what does, in words, for the stamp on everything that is made with it; None where
            it is the same.
    """

    loaded: LoadedModel
    name: str
    is_same: bool
    forced: str | None


def load_run_model(
    scores: Sequence[ArmScores],
    *,
    name: str | None = None,
    revision: str | None = None,
    dtype: ComputedDtype | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    force: bool = False,
) -> RunModel:
    """Load the model and tokenizer that made a run, and check that they are those.

    Checked are what lm-eval logged (commit, number of parameters, special tokens), what our tasks
    recorded of the files, and what the model answered: see `differences`.

    Args:
        scores: a run's, of one model; those of a steered model are left out.
        name: a folder or repository where the model is now, or another model; the run's own by
            default.
        revision: of the model on the hub; the run's own by default.
        dtype: to compute in; float32 by default, whatever the run was computed in: activations
            are read more exactly, and do not overflow.
        device: "cuda" where there is one, else "cpu".
        trust_remote_code: run code that comes with the model. That the run did is no reason.
        force: take a model that is not the run's.

    Raises:
        UserError: no score, steered models alone, several models; weights that are on a server,
            have moved or cannot be loaded; chat messages in place of prompts; another model,
            revision or tokenizer without `force`.
    """
    from emo_harness.activations.loading import load_language_model

    own = own_model(scores)
    refuse_messages(own)
    if name is None:
        place = refuse_unreadable(own)
        is_named = False
    else:
        place = name
        is_named = own.place is None or not _is_one_place(name, own.place)
    has_own_weights = not is_named or _has_recorded_weights(own, place, revision)
    named = {
        "pretrained": place,
        "revision": revision or (None if is_named else own.revision),
        "tokenizer": _tokenizer(own, place) if has_own_weights or _has_none(place) else None,
        "peft": own.head.adapter if has_own_weights else None,
    }
    loaded = load_language_model(
        place,
        revision=named["revision"],
        dtype=dtype or "float32",
        device=device,
        trust_remote_code=trust_remote_code,
        tokenizer=named["tokenizer"],
        adapter=named["peft"],
        add_bos_token=own.head.adds_bos,
    )
    here = loaded_identities({**named, "pretrained": embedded_model(place)})
    found = differences(loaded, own, here, is_named=is_named)
    if found and not force:
        raise UserError(
            f"checking that {_shown(place)} is the model that made the run",
            found="; ".join(found),
            expected=f"the model and tokenizer that were asked: {own.told}",
            fix="--model PATH (and --revision) names the one that was; --force takes this one, and "
            "whatever is made from it says so",
        )
    return RunModel(loaded, _shown(place), not found, "; ".join(found) or None)


def _is_one_place(name: str, own: str) -> bool:
    here, there = Path(embedded_model(name)), Path(embedded_model(own))
    if here.exists() and there.exists():
        return here.resolve() == there.resolve()
    return name == own


def _has_recorded_weights(own: OwnModel, place: str, revision: str | None) -> bool:
    """Whether a place holds, file by file, what the run's weights were."""
    recorded = own.head.identities.get("pretrained")
    here = loaded_identities({"pretrained": embedded_model(place), "revision": revision})
    return recorded is not None and here.get("pretrained") == recorded


def _tokenizer(own: OwnModel, place: str) -> str | None:
    """The run's tokenizer, where it was not the one beside the weights."""
    named = own.head.tokenizer
    return None if named is None or _is_one_place(named, place) else named


def _has_none(place: str) -> bool:
    folder = Path(embedded_model(place))
    return folder.is_dir() and not any(folder.glob("tokenizer*"))


def _shown(place: str) -> str:
    return Path(place).resolve().name if Path(place).exists() else place
