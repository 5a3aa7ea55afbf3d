"""Word means: where each word lies in activation space, its sentences averaged out.

A word's vector is the mean over its non-negated prompts, each minus the mean of its template. Both
halves of the templates are kept apart, so that a direction found in one half can be tried in the
other, and so that the words' own reliability is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emo_harness.activations.store import Activations
from emo_harness.errors import UserError, quoted

Floats = NDArray[np.float32]
NEEDED = ("word", "template", "negation")


@dataclass(frozen=True, eq=False)
class WordMeans:
    """Words in one site's space.

    Attributes:
        site: where they were read.
        layers: of the model.
        table: one row per word: `word`, `lemma`, `list`, and each dimension's pole (float, NaN
            where the word is in no list of it).
        dimensions: names of those.
        halves: (2, n_words, n_layers, dim) float32, centred by template, NaN where a word has no
            prompt in a half of the templates.
    """

    site: str
    layers: tuple[int, ...]
    table: pd.DataFrame
    dimensions: tuple[str, ...]
    halves: Floats

    @property
    def words(self) -> list[str]:
        return [str(word) for word in self.table["word"]]

    @property
    def groups(self) -> NDArray[np.int64]:
        """(n_words,) number of the word's lemma: words of one lemma are no two observations."""
        return np.unique(self.table["lemma"].astype(str), return_inverse=True)[1].astype(np.int64)

    @property
    def vectors(self) -> Floats:
        """(n_words, n_layers, dim) mean of the halves, of the one there is where there is one."""
        known = ~np.isnan(self.halves)
        total = np.where(known, self.halves, 0).sum(axis=0)
        times = known.sum(axis=0)
        return np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0)

    def poles(self, dimension: str) -> NDArray[np.float64]:
        """(n_words,) -1, 0, 1 or NaN; all NaN for a dimension the corpus does not have."""
        if dimension not in self.dimensions:
            return np.full(len(self.table), np.nan)
        return self.table[dimension].to_numpy(np.float64)

    def only(self, rows: NDArray[np.int64]) -> WordMeans:
        """Some of the words."""
        return WordMeans(
            self.site,
            self.layers,
            self.table.iloc[rows].reset_index(drop=True),
            self.dimensions,
            self.halves[:, rows],
        )


def probing_index(store: Activations) -> pd.DataFrame:
    """The store's index, if each row is one prompt of a probing corpus.

    Raises:
        UserError: it has no words, or several rows per prompt.
    """
    index = store.index
    missing = [name for name in NEEDED if name not in index]
    if missing:
        raise UserError(
            f"reading words from {store.folder}",
            found=f"an index without {quoted(missing)}",
            expected="activations of a probing corpus: adjectives in sentence templates",
            fix="capture one: emo probe capture --model MODEL --out STORE",
        )
    if index["prompt"].duplicated().any():
        raise UserError(
            f"reading words from {store.folder}",
            found=f"several rows per prompt (position {store.manifest.position!r})",
            expected="one vector per prompt",
            fix="capture with --position last, span or mean",
        )
    return index


def shown_name(store: Activations) -> str:
    """The model's name; of a folder on this machine its own name alone."""
    name = store.manifest.model.name
    return Path(name).name if Path(name).is_absolute() or Path(name).is_dir() else name


def word_table(index: pd.DataFrame, dimensions: Sequence[str]) -> pd.DataFrame:
    """One row per word, in order of first appearance; a pole is NaN where the lists disagree."""
    index = index.sort_values("prompt") if "prompt" in index else index
    facts = {name: index[name] if name in index else index["word"] for name in ("word", "lemma")}
    facts["list"] = index["list"] if "list" in index else pd.Series("", index=index.index)
    poles = {name: index[name].astype("Float64").astype(np.float64) for name in dimensions}
    # Words times templates repeat the same few rows many times.
    rows = pd.DataFrame({**facts, **poles}).drop_duplicates()
    found = rows.groupby("word", sort=False, as_index=False)
    table = found[["lemma"]].first()
    table["list"] = found["list"].agg(lambda names: ", ".join(dict.fromkeys(map(str, names))))[
        "list"
    ]
    for name in dimensions:
        least, most = found[name].min()[name], found[name].max()[name]
        table[name] = np.where(least == most, least, np.nan)
    return table


def dimensions_of(store: Activations) -> tuple[str, ...]:
    """Dimensions of the store's corpus: valence, arousal, and whatever else its lists have."""
    told = store.manifest.corpus.get("dimensions")
    named = list(told) if isinstance(told, dict) else ["valence", "arousal"]
    return tuple(name for name in named if name in store.index)


def word_means(store: Activations, site: str, layers: Sequence[int] | None = None) -> WordMeans:
    """Average a store's activations by word.

    Args:
        layers: of the model; all captured by default.

    Raises:
        UserError: no probing corpus, no non-negated prompt, another site or layer than captured,
            values that are not finite.
    """
    index = probing_index(store)
    dimensions = dimensions_of(store)
    table = word_table(index, dimensions)
    chosen = tuple(store.manifest.layers if layers is None else layers)
    plain = ~index["negation"].to_numpy(bool)
    if not plain.any():
        raise UserError(
            f"reading words from {store.folder}",
            found="negated prompts alone",
            expected="prompts in which a word means what it says",
            fix="capture templates with and without negation",
        )
    number = {word: i for i, word in enumerate(table["word"])}
    word = index["word"].map(number).to_numpy(np.int64)
    plain_templates, template = np.unique(index["template"].to_numpy(), return_inverse=True)
    used = np.unique(template[plain])
    half_of = np.zeros(len(plain_templates), np.int64)
    half_of[used] = np.arange(len(used)) % 2
    width = int(np.prod(store.shape(site)))
    by_template = np.zeros((len(plain_templates), len(chosen), width), np.float64)
    by_word = np.zeros((2, len(table), len(chosen), width), np.float64)
    for rows, vectors in store.blocks(site, layers=chosen):
        kept = plain[rows]
        if not np.isfinite(vectors).all():
            raise UserError(
                f"reading {site} activations in {store.folder}",
                found="values that are no finite numbers",
                expected="finite numbers",
                fix="capture again with --dtype float32; float16 holds at most 65,504",
            )
        flat = vectors[kept].reshape(int(kept.sum()), len(chosen), width)
        where = template[rows][kept]
        by_template += _summed(where, flat, len(plain_templates))
        cell = half_of[where] * len(table) + word[rows][kept]
        by_word += _summed(cell, flat, 2 * len(table)).reshape(by_word.shape)
    times = np.bincount(template[plain], minlength=len(plain_templates))
    by_template /= np.maximum(times, 1)[:, None, None]
    for half in range(2):
        own = plain & (half_of[template] == half)
        # How often a word stands in each template: what of the templates is in the word's sum.
        pairs = np.zeros((len(table), len(plain_templates)))
        np.add.at(pairs, (word[own], template[own]), 1)
        by_word[half] -= np.tensordot(pairs, by_template, 1)
        count = pairs.sum(axis=1)[:, None, None]
        by_word[half] = np.where(count > 0, by_word[half] / np.maximum(count, 1), np.nan)
    return WordMeans(site, chosen, table, dimensions, by_word.astype(np.float32))


def _summed(level: NDArray[np.int64], vectors: Floats, n_levels: int) -> NDArray[np.float64]:
    """(n_levels, n_layers, dim) sums of vectors (n, n_layers, dim) by level (n,)."""
    from scipy.sparse import csr_matrix

    n = len(level)
    chosen = csr_matrix((np.ones(n, np.float32), (level, np.arange(n))), (n_levels, n))
    flat = vectors.reshape(n, int(np.prod(vectors.shape[1:])))
    summed = np.asarray(chosen @ flat, np.float64)
    return summed.reshape(n_levels, *vectors.shape[1:])
