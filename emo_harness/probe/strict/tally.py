"""Tally: what every probe and control answered in every seed, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.clustered import Clusters, Estimate
from emo_harness.probe.strict.splits import PARTS, TRAIN, Split
from emo_harness.probe.targets import Targets

Floats = NDArray[np.float32]
Halves = NDArray[np.uint16]


@dataclass(frozen=True)
class Key:
    """What was asked: one row of results per part of the split.

    Attributes:
        method: "ridge", "lda", "mean-difference", "logistic", or the name of a control.
        kind: "probe" or "control".
        informative: it could be above chance, were the answer in what it sees.
        features: "raw", "centred", "centred-neutral"; "" for controls without activations.
        layer: of the model; None for all layers together.
        head: None for all heads together.
        subset: "all", or "negated" or "not negated": fitted and asked within it.
        of: for a control that repeats a probe with other labels, the probe's method.
    """

    method: str
    kind: str
    informative: bool
    features: str = ""
    layer: int | None = None
    head: int | None = None
    subset: str = "all"
    of: str = ""


class Tally:
    """Right answers of several keys, summed over seeds.

    Args:
        targets: the rows.
        keys: what is asked, all of one subset.
        parts: the parts of the split where it is asked.
    """

    def __init__(self, targets: Targets, keys: Sequence[Key], parts: Sequence[str] = PARTS) -> None:
        self.keys = list(keys)
        self.parts = tuple(parts)
        self.rows = targets.subset(self.keys[0].subset)
        n = self.rows.stop - self.rows.start
        self.clusters = Clusters(
            targets.word[self.rows], targets.template[self.rows], targets.cell[self.rows]
        )
        self.halves: Halves = np.zeros((len(self.parts), len(self.keys), n), np.uint16)
        self.asked = np.zeros((len(self.parts), n), np.uint16)
        self.by_seed: list[NDArray[np.float64]] = []
        self.converged: list[bool] | None = None

    def add(self, split: Split, decisions: Floats, targets: NDArray[np.int64]) -> None:
        """Count one seed's answers; a decision of exactly 0 is half right.

        Args:
            decisions: (k, m) of the m held-out rows of the subset, in order.
            targets: (n,) or (k, n) +-1 for all rows of the corpus.
        """
        part = split.part[self.rows]
        held_out = part != TRAIN
        truth = targets[..., self.rows][..., held_out]
        points = (1 + np.sign(decisions) * truth).astype(np.uint16)
        shares = np.full((len(self.parts), len(self.keys)), np.nan)
        for number, name in enumerate(self.parts):
            code = PARTS.index(name) + 1
            own = part[held_out] == code
            self.halves[number][:, part == code] += points[:, own]
            self.asked[number][part == code] += 1
            if own.any():
                shares[number] = points[:, own].mean(axis=1) / 2
        self.by_seed.append(shares)

    def right(self, key: Key, part: str) -> Floats:
        """(n,) how often each row was answered rightly."""
        number = self.parts.index(part)
        return self.halves[number, self.keys.index(key)].astype(np.float32) / 2

    def times_asked(self, part: str) -> Floats:
        """(n,) how often each row was asked."""
        return self.asked[self.parts.index(part)].astype(np.float32)

    def estimates(self, part: str) -> list[Estimate]:
        """One per key."""
        number = self.parts.index(part)
        right = self.halves[number].astype(np.float32) / 2
        return self.clusters.accuracies(right, self.asked[number].astype(np.float32))

    def results(self, dimension: str, site: str) -> list[dict[str, Any]]:
        """One row of results per key and part."""
        found = []
        seeds = np.stack(self.by_seed)
        for number, part in enumerate(self.parts):
            for place, (key, estimate) in enumerate(
                zip(self.keys, self.estimates(part), strict=True)
            ):
                shares = seeds[:, number, place]
                found.append(
                    result(dimension, site, key, part, estimate, shares)
                    | {"converged": None if self.converged is None else self.converged[place]}
                )
        return found


def result(
    dimension: str,
    site: str,
    key: Key,
    part: str,
    estimate: Estimate,
    by_seed: NDArray[np.float64],
    statistic: str = "accuracy",
) -> dict[str, Any]:
    """One row of results."""
    known = by_seed[~np.isnan(by_seed)]
    return {
        "dimension": dimension,
        "site": site,
        **asdict(key),
        "split": part,
        "statistic": statistic,
        "accuracy": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "sd_over_seeds": float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
        "n_prompts": estimate.n_prompts,
        "n_words": estimate.n_words,
        "n_templates": estimate.n_templates,
        "n_seeds": len(known),
        "converged": None,
    }
