"""Targets: which rows of a store a probe is asked about, and what the right answers are.

A word has a pole on a dimension (+1 high, -1 low, 0 neutral); a prompt's target is that pole,
turned round where its template negates. Rows are sorted by template, those that do not negate
first, so that a template and a subset are slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, nearest, quoted

if TYPE_CHECKING:
    import pandas as pd

    from emo_harness.activations.store import Activations

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
SUBSETS = ("all", "negated", "not negated")
_NEEDED = ("prompt", "word", "template", "negation")


@dataclass(frozen=True, eq=False)
class Targets:
    """The rows of one dimension, n of them, in W words and T templates.

    Attributes:
        dimension: e.g. "valence".
        rows: (n,) rows of the store, sorted by template.
        word: (n,) number of the word; words with one spelling are one word.
        template: (n,) number of the template, ascending.
        poles: (W,) +1 or -1.
        negates: (T,) bool, ascending.
        words: (W,) spelling.
        lemmas: (W,) lemma.
        template_texts: (T,) text with its slot.
        shapes, scenarios: (T,) what the templates have in common with others.
        neutral_rows: (m,) rows of the store with neutral words in the same templates.
        neutral_template: (m,) number of the template, ascending.
        n_tokens, span_tokens, span_id: (n,) of the prompt and of its span; -1 where unknown.
    """

    dimension: str
    rows: Ints
    word: Ints
    template: Ints
    poles: Ints
    negates: Bools
    words: tuple[str, ...]
    lemmas: tuple[str, ...]
    template_texts: tuple[str, ...]
    shapes: tuple[str, ...]
    scenarios: tuple[str, ...]
    neutral_rows: Ints
    neutral_template: Ints
    n_tokens: Ints
    span_tokens: Ints
    span_id: Ints

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def negated(self) -> Bools:
        """(n,) whether the row's template negates."""
        return self.negates[self.template]

    @cached_property
    def targets(self) -> Ints:
        """(n,) +1 or -1: the word's pole, turned round by a negation."""
        return self.targets_of(self.poles)

    def targets_of(self, poles: Ints) -> Ints:
        """(n,) targets if the words had other poles."""
        return np.where(self.negated, -1, 1) * poles[self.word]

    @cached_property
    def cell(self) -> Ints:
        """(n,) number of the combination of word and template."""
        joint = self.template * len(self.words) + self.word
        return np.unique(joint, return_inverse=True)[1].astype(np.int64)

    def subset(self, name: str) -> slice:
        """The rows of one of `SUBSETS`."""
        first = int(np.searchsorted(self.negated, True))
        return {
            "all": slice(0, len(self)),
            "not negated": slice(0, first),
            "negated": slice(first, len(self)),
        }[name]

    @property
    def subsets(self) -> tuple[str, ...]:
        """Those of `SUBSETS` that hold rows; "all" alone where nothing, or all, is negated."""
        return SUBSETS if self.negates.any() and not self.negates.all() else SUBSETS[:1]


def dimensions_of(store: Activations, asked: Sequence[str] | None = None) -> list[str]:
    """The dimensions that a store's corpus gives poles for, or those of them that were asked.

    Raises:
        UserError: the corpus is no probing corpus, or knows no such dimension.
    """
    known = [name for name in store.manifest.corpus.get("dimensions", {}) if name in store.index]
    doing = f"choosing dimensions in {store.folder}"
    if not known:
        raise UserError(
            doing,
            found="no column with the words' poles",
            expected="activations of a probing corpus",
            fix="capture a corpus of adjectives and templates: `emo probe capture --help`",
        )
    for name in asked or ():
        if name not in known:
            raise UserError(
                doing,
                found=f"{name!r}{nearest(name, known)}",
                expected=f"among {quoted(known)}",
                fix="name one of these with --dimension, or leave it away for all",
            )
    return list(dict.fromkeys(asked)) if asked else known


def read_targets(store: Activations, dimension: str) -> Targets:
    """Targets on one dimension.

    Raises:
        UserError: the dimension is unknown, a pole has no words, there is one template alone, or a
            prompt has several rows.
    """
    (dimension,) = dimensions_of(store, [dimension])
    index = store.index
    doing = f"reading the targets on {dimension} in {store.folder}"
    require_columns(index, doing)
    pole = index[dimension].astype("Float64").to_numpy(float, na_value=np.nan)
    rows = np.flatnonzero((pole == 1) | (pole == -1))
    if index["prompt"].duplicated().any():
        raise UserError(
            doing,
            found=f"several rows per prompt (position {store.manifest.position})",
            expected="one row per prompt",
            fix="capture with --position last, span or mean",
        )
    for value, name in ((1, "high"), (-1, "low")):
        if not (pole == value).any():
            raise UserError(
                doing,
                found=f"no word at the {name} pole",
                expected="words at both poles",
                fix="capture a corpus whose adjectives lie at both poles",
            )
    negation = index["negation"].astype(bool).to_numpy()
    facts = index.iloc[rows].drop_duplicates("template")
    facts = facts.assign(_negates=negation[facts.index]).sort_values(["_negates", "template"])
    if len(facts) < 2:
        raise UserError(
            doing,
            found="1 template",
            expected="several, so that some can be held out",
            fix="capture a corpus with more templates",
        )
    number = {name: k for k, name in enumerate(facts["template"])}
    words = sorted(set(index["word"].iloc[rows].astype(str)))
    word_number = {name: k for k, name in enumerate(words)}
    word = index["word"].iloc[rows].astype(str).map(word_number).to_numpy(np.int64)
    template = index["template"].iloc[rows].map(number).to_numpy(np.int64)
    order = np.lexsort((index["prompt"].to_numpy()[rows], word, template))
    rows, word, template = rows[order], word[order], template[order]
    poles, lemmas = _of_words(index, rows, word, words, pole, doing)
    neutral = np.flatnonzero(pole == 0)
    neutral = neutral[index["template"].iloc[neutral].isin(number).to_numpy(bool)]
    neutral_template = index["template"].iloc[neutral].map(number).to_numpy(np.int64)
    neutral_order = np.argsort(neutral_template, kind="stable")
    return Targets(
        dimension,
        rows,
        word,
        template,
        poles,
        facts["_negates"].to_numpy(bool),
        tuple(words),
        lemmas,
        _texts(facts, "template_text", "template"),
        _texts(facts, "shape", "template"),
        _texts(facts, "scenario", "template"),
        neutral[neutral_order],
        neutral_template[neutral_order],
        *(_whole(index, name, rows) for name in ("n_tokens", "span_tokens", "span_id")),
    )


def require_columns(index: pd.DataFrame, doing: str) -> None:
    """Raise where an index lacks the facts of a probing corpus.

    Raises:
        UserError: it does.
    """
    missing = [name for name in _NEEDED if name not in index]
    if missing:
        raise UserError(
            doing,
            found=f"no column {quoted(missing)}",
            expected="the facts of a probing corpus: word, template, negation",
            fix="capture a corpus of adjectives and templates",
        )


def _of_words(
    index: pd.DataFrame, rows: Ints, word: Ints, words: list[str], pole: Any, doing: str
) -> tuple[Ints, tuple[str, ...]]:
    """Pole and lemma of each word."""
    high = np.bincount(word, pole[rows] == 1, len(words))
    low = np.bincount(word, pole[rows] == -1, len(words))
    both = np.flatnonzero((high > 0) & (low > 0))
    if len(both):
        raise UserError(
            doing,
            found=f"both poles for {quoted(words[k] for k in both)}",
            expected="one pole per word",
            fix="take the word out of one of the lists",
        )
    lemmas = np.array(words, object)
    if "lemma" in index:
        lemmas[word] = index["lemma"].iloc[rows].astype(str).to_numpy(object)
    return np.where(high > 0, 1, -1).astype(np.int64), tuple(map(str, lemmas))


def _texts(facts: pd.DataFrame, name: str, otherwise: str) -> tuple[str, ...]:
    return tuple(facts[name if name in facts else otherwise].astype(str))


def _whole(index: pd.DataFrame, name: str, rows: Ints) -> Ints:
    if name not in index:
        return np.full(len(rows), -1, np.int64)
    return index[name].iloc[rows].astype("Int64").fillna(-1).to_numpy(np.int64)
