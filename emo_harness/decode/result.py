"""Results: every decoding as JSON, and its tokens as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emo_harness.decode.meta_prompt import MetaPrompt
from emo_harness.decode.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
# Digits that are kept of a logit or probability: more differ from machine to machine.
DIGITS = 6
TABLE_COLUMNS = (
    "source",
    "kind",
    "control_of",
    "vector",
    "layer",
    "position",
    "draw",
    "rank",
    "token",
    "token_id",
    "logit",
    "probability",
    "printable",
    "special",
    "in_text",
    "survives",
    "id",
)


def entries(
    prompts: Sequence[MetaPrompt], ids: Sequence[str | None], vocabulary: Vocabulary
) -> list[dict[str, Any]]:
    """Every decoded vector with its tokens, as JSON values.

    Args:
        prompts: decoded.
        ids: of the stimulus that each became; None where it became none.

    Returns:
        One entry per vector: of a text with a token per position, one per position, all with the
        text's id. `n_averaged` counts the stimuli that the vector is the mean of. `in_text` says
        which tokens stand in the text, `survives` which of those the tokenizer gives back from it.
    """
    return [
        entry
        for prompt, stimulus in zip(prompts, ids, strict=True)
        for entry in _entries(prompt, stimulus, vocabulary)
    ]


def token_table(told: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tokens of entries, a row each; ranks count from 1."""
    import pandas as pd

    shared = ("source", "kind", "control_of", "vector", "layer", "position", "draw")
    rows = [
        {
            **{name: entry[name] for name in shared},
            "rank": rank,
            "token": token["token"],
            "token_id": token["id"],
            **{name: token[name] for name in TABLE_COLUMNS[10:16]},
            "id": entry["id"],
        }
        for entry in told
        for rank, token in enumerate(entry["tokens"], start=1)
    ]
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    kinds = {"position": "Int64", "logit": "float64", "probability": "float64"}
    kinds |= dict.fromkeys(("source", "kind", "control_of", "vector", "token", "id"), "string")
    return table.astype(kinds)


def _entries(
    prompt: MetaPrompt, stimulus: str | None, vocabulary: Vocabulary
) -> Iterator[dict[str, Any]]:
    standing = dict(zip(prompt.text.places, prompt.text.survives, strict=True))
    for position, ranked in enumerate(prompt.ranked):
        yield {
            "id": stimulus,
            "source": prompt.source,
            "kind": prompt.kind,
            "control_of": prompt.control_of,
            "vector": prompt.vector,
            "layer": prompt.layer,
            "draw": prompt.draw,
            "position": position if prompt.by_position else None,
            "n_averaged": ranked.n_averaged,
            "overlap": _known(ranked.overlap),
            "text": prompt.text.text,
            "tokens": [
                {
                    "token": token.text,
                    "id": token.id,
                    "logit": _known(logit),
                    "probability": _known(probability),
                    "printable": token.printable,
                    "special": token.special,
                    "in_text": (position, rank) in standing,
                    "survives": standing.get((position, rank), False),
                }
                for rank, (token, logit, probability) in enumerate(
                    zip(
                        map(vocabulary.token, ranked.ids.tolist()),
                        ranked.logits.tolist(),
                        ranked.probabilities.tolist(),
                        strict=True,
                    )
                )
            ],
        }


def _known(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
