"""Splits of the Emo_LLM protocol: unseen adjectives, unseen templates, unseen combinations.

Drawn as the code of Emo_LLM draws them (amanb2000/Emo_LLM, 2024): 15% of the adjectives make E1,
15% of the templates E2, 10% of the prompts E3; a prompt belongs to the first of them that it fits;
60% of the others are trained on and the rest is not used. So E1 holds unseen adjectives in seen and
unseen templates, E2 mostly seen adjectives, and E3 adjectives and templates that were both seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.probe.targets import Bools, Ints, dimensions_of, require_columns

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations

PARTS = ("E1", "E2", "E3")
# In whole hundredths, so that shares are rounded down exactly.
PERCENT_WORDS, PERCENT_TEMPLATES, PERCENT_PROMPTS, PERCENT_TRAINED = 15, 15, 10, 60
# Of which 15% are one.
FEWEST = 7


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of one dimension, n of them, in the order of the corpus.

    Attributes:
        rows: (n,) rows of the store.
        word, template: (n,) their numbers, from 0; words of one spelling are one word.
        twin: (n,) the first prompt that is equal to this one (an adjective may be listed twice).
        label: (n,) whether the adjective is of its file's first class, XOR negation.
        negated: (n,) whether the template negates.
        first_class: name of that class.
    """

    rows: Ints
    word: Ints
    template: Ints
    twin: Ints
    label: Bools
    negated: Bools
    first_class: str

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Drawn:
    """One seed's split: numbers of prompts, ascending.

    Attributes:
        parts: of E1, E2 and E3.
        train: of those to fit on.
    """

    parts: dict[str, Ints]
    train: Ints


def prompts_of(store: Activations, dimension: str) -> Prompts:
    """The prompts of a store that the protocol asks about.

    Raises:
        UserError: the corpus knows no such dimension, was not read at the last token, lacks facts,
            or has too few adjectives or templates.
    """
    (dimension,) = dimensions_of(store, [dimension])
    doing = f"reading the prompts about {dimension} in {store.folder}"
    if store.manifest.position != "last":
        raise UserError(
            doing,
            found=f"activations at position {store.manifest.position!r}",
            expected="'last', where the protocol emo-llm reads",
            fix="capture with --position last",
        )
    index = store.index
    require_columns(index, doing)
    pole = index[dimension].astype("Float64").to_numpy(float, na_value=np.nan)
    rows = np.flatnonzero(np.abs(pole) == 1)
    rows = rows[np.argsort(index["prompt"].to_numpy()[rows], kind="stable")]
    facts = store.manifest.corpus["dimensions"][dimension]
    first_pole = 1 if facts["first"] == facts["high"] else -1
    negated = index["negation"].to_numpy(bool)[rows]
    own = index.iloc[rows]
    word = own.groupby("word", sort=False).ngroup().to_numpy(np.int64)
    template = own.groupby("template", sort=False).ngroup().to_numpy(np.int64)
    for what, numbers in (("adjectives", word), ("templates", template)):
        n_known = len(np.unique(numbers))
        if n_known < FEWEST:
            raise UserError(
                doing,
                found=f"{n_known} {what}",
                expected=f"at least {FEWEST}, of which {PERCENT_WORDS}% can be held out",
                fix="capture a larger corpus",
            )
    equal = np.stack([word, template, pole[rows].astype(np.int64)], axis=1)
    _, first, group = np.unique(equal, axis=0, return_index=True, return_inverse=True)
    twin = first[group.reshape(-1)].astype(np.int64)
    label = (pole[rows] == first_pole) ^ negated
    return Prompts(rows, word, template, twin, label, negated, facts["first"])


def draw(prompts: Prompts, rng: np.random.Generator) -> Drawn:
    """Draw one split."""
    held_words = _sample(np.unique(prompts.word), PERCENT_WORDS, rng)
    held_templates = _sample(np.unique(prompts.template), PERCENT_TEMPLATES, rng)
    held_prompts = _sample(np.arange(len(prompts)), PERCENT_PROMPTS, rng)
    in_e1 = np.isin(prompts.word, held_words)
    in_e2 = np.isin(prompts.template, held_templates) & ~in_e1
    # Prompts are compared by content, so that the twin of a drawn one is held out with it.
    in_e3 = np.isin(prompts.twin, prompts.twin[held_prompts]) & ~in_e1 & ~in_e2
    pool = np.flatnonzero(~(in_e1 | in_e2 | in_e3))
    parts = dict(zip(PARTS, map(np.flatnonzero, (in_e1, in_e2, in_e3)), strict=True))
    return Drawn(parts, _sample(pool, PERCENT_TRAINED, rng))


def _sample(among: NDArray[np.int64], percent: int, rng: np.random.Generator) -> Ints:
    """A share of `among`, rounded down, without repeats, ascending."""
    return np.sort(rng.choice(among, len(among) * percent // 100, replace=False))
