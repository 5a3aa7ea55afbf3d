"""Do the statistics keep their promises? Simulated with a known truth.

    python perf/inference.py              # full size: half an hour on two cores, one JSON line
    python perf/inference.py --reps 200   # quicker, noisier

Answers come from a latent threshold model with crossed random effects: question i is answered
right under arm j if a + u_i + d_j + w_ij > 0, with u the question's ability, w the interaction
(their variances sum to 1, `question_share` of it is u's), d_j = effect + a random effect of the
stimulus, and d = 0 for control. Means of truth are then normal probabilities.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from emo_harness.effects import (
    EQUIVALENCE_LEVEL,
    Gain,
    best_stimulus,
    holm,
    paired_gain,
    relative_gain,
    two_way_gain,
    verdict,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """One way to draw questions and stimuli; effects on the latent scale.

    Attributes:
        rare_loss: share of questions that every stimulus breaks (a refusal, an unreadable answer).
        common: share of the noise that all stimuli have in common, so that they answer alike.
    """

    n_questions: int
    n_stimuli: int
    accuracy: float
    question_share: float
    effect: float = 0.0
    stimulus_sd: float = 0.0
    rare_loss: float = 0.0
    common: float = 0.0


@dataclass(frozen=True)
class Rate:
    """How often something happened in one design."""

    design: Design
    rate: float
    expected_differing: float
    n_reps: int

    @property
    def monte_carlo_se(self) -> float:
        return math.sqrt(max(self.rate * (1 - self.rate), 1e-4) / self.n_reps)


@dataclass(frozen=True)
class Draw:
    """One simulated experiment: (n, m) scores, (n,) control, true gains as shares."""

    arms: Floats
    control: Floats
    true_gains: Floats


def draw(design: Design, rng: np.random.Generator) -> Draw:
    """Questions and stimuli drawn anew."""
    n, m = design.n_questions, design.n_stimuli
    base = stats.norm.ppf(design.accuracy)
    shift = design.effect + design.stimulus_sd * rng.standard_normal(m)
    ability = math.sqrt(design.question_share) * rng.standard_normal((n, 1))
    noise = math.sqrt(1 - design.question_share) * rng.standard_normal((n, m + 1))
    if design.common:
        shared = math.sqrt(1 - design.question_share) * rng.standard_normal((n, 1))
        noise[:, 1:] *= math.sqrt(1 - design.common)
        noise[:, 1:] += math.sqrt(design.common) * shared
    latent = base + ability + noise
    kept = rng.random((n, 1)) >= design.rare_loss
    return Draw(
        ((latent[:, 1:] + shift > 0) & kept).astype(np.float64),
        (latent[:, 0] > 0).astype(np.float64),
        (1 - design.rare_loss) * stats.norm.cdf(base + shift) - design.accuracy,
    )


def population_gain(design: Design) -> float:
    """Mean gain over all questions and all stimuli of the population."""
    base = float(stats.norm.ppf(design.accuracy))
    spread = math.sqrt(1 + design.stimulus_sd**2)
    return float(stats.norm.cdf((base + design.effect) / spread)) - design.accuracy


def covers(gain: Gain, truth: float) -> bool:
    return gain.low_pp - 1e-9 <= 100 * truth <= gain.high_pp + 1e-9


def covered_single(one: Draw, design: Design) -> bool:
    return covers(paired_gain(one.arms[:, 0], one.control), float(one.true_gains[0]))


def covered_family(one: Draw, design: Design) -> bool:
    return covers(paired_gain(one.arms, one.control), float(one.true_gains.mean()))


def covered_population(one: Draw, design: Design) -> bool:
    return covers(two_way_gain(one.arms, one.control), population_gain(design))


def covered_best(one: Draw, design: Design) -> bool:
    chosen = best_stimulus(one.arms, one.control, np.random.default_rng(0))
    return covers(chosen.gain, float(one.true_gains[list(chosen.halves)].mean()))


def covered_relative(one: Draw, design: Design) -> bool:
    truth = 100 * float(one.true_gains.mean()) / design.accuracy
    found = relative_gain(one.arms.mean(axis=1), one.control)
    return bool(found.refused) or found.low_percent <= truth <= found.high_percent


def claims_any_family(one: Draw, design: Design) -> bool:
    """Whether any of three families is said to raise or lower."""
    parts = np.array_split(np.arange(one.arms.shape[1]), 3)
    gains = [paired_gain(one.arms[:, part], one.control) for part in parts]
    adjusted = holm([gain.p for gain in gains])
    words = [
        verdict(gain, narrow_gain(one.arms[:, part], one.control), float(p)).word
        for gain, part, p in zip(gains, parts, adjusted, strict=True)
    ]
    return bool({"raises", "lowers"} & set(words))


def claims_population(one: Draw, design: Design) -> bool:
    """Whether "stimuli like these" are said to raise or lower."""
    gain = two_way_gain(one.arms, one.control)
    narrow = two_way_gain(one.arms, one.control, level=EQUIVALENCE_LEVEL)
    return verdict(gain, narrow, gain.p).word in ("raises", "lowers")


def says_no_difference(one: Draw, design: Design) -> bool:
    gain = paired_gain(one.arms, one.control)
    return verdict(gain, narrow_gain(one.arms, one.control), gain.p).word == "no difference"


def narrow_gain(arms: Floats, control: Floats) -> Gain:
    return paired_gain(arms, control, level=EQUIVALENCE_LEVEL)


def rejects(one: Draw, design: Design) -> bool:
    """Whether the p-value of a family's mean gain is at most 0.05."""
    return paired_gain(one.arms, one.control).p <= ALPHA


def effect_of_gain(accuracy: float, gain: float) -> float:
    """The latent effect that changes the accuracy by `gain` (a share)."""
    return float(stats.norm.ppf(accuracy + gain) - stats.norm.ppf(accuracy))


def grid(
    questions: Iterable[int],
    stimuli: Iterable[int],
    accuracies: Iterable[float],
    shares: Iterable[float],
    effects: Iterable[float],
    stimulus_sds: Iterable[float],
) -> list[Design]:
    axes = (questions, stimuli, accuracies, shares, effects, stimulus_sds)
    return [Design(*values) for values in itertools.product(*axes)]


ALPHA = 0.05
QUESTIONS = (30, 100, 400, 2000)
ACCURACIES = (0.05, 0.3, 0.6, 0.95)
SHARES = (0.5, 0.9, 0.99)
STUDIES: dict[str, Callable[[Draw, Design], bool]] = {
    "single": covered_single,
    "family": covered_family,
    "family_rare_loss": covered_family,
    "two_way": covered_population,
    "best": covered_best,
    "relative": covered_relative,
    "false_claims": claims_any_family,
    "false_population_claims": claims_population,
    "false_no_difference": says_no_difference,
    "false_p": rejects,
}


def designs() -> dict[str, list[Design]]:
    """What each study is tried on."""
    single = grid(QUESTIONS, (1,), ACCURACIES, SHARES, (0.0, -0.3), (0.0,))
    family = grid(QUESTIONS, (5, 12, 30), ACCURACIES, SHARES, (0.0, -0.3), (0.0, 0.2))
    null = grid((30, 250, 2000), (9, 30), (0.05, 0.5, 0.95), SHARES, (0.0,), (0.0,))
    rare = [
        Design(n, m, accuracy, share, rare_loss=0.01)
        for n, m, accuracy, share in itertools.product(
            (100, 200, 400), (10, 22), (0.6, 0.95), (0.9, 0.99, 0.999)
        )
    ]
    edges = itertools.product(
        (100, 400, 2000), (1, 10), (0.05, 0.5, 0.95), (0.9, 0.99, 0.999), (-0.01, 0.01)
    )
    at_margin = [Design(n, m, a, share, effect_of_gain(a, gain)) for n, m, a, share, gain in edges]
    return {
        "single": single,
        "family": family[::3],
        "family_rare_loss": rare,
        "two_way": grid((30, 250, 2000), (10, 30), ACCURACIES, (0.5, 0.9), (-0.3,), (0.1, 0.4)),
        "best": family[::11],
        "relative": [d for d in family[::7] if d.accuracy >= 0.3],
        "false_claims": null,
        "false_population_claims": grid(
            (250, 2000), (10, 30), (0.5,), (0.5, 0.9), (0.0,), (0.1, 0.4)
        ),
        "false_no_difference": at_margin,
        "false_p": [
            Design(n, m, 0.8, share, common=common)
            for n, m, share, common in itertools.product(
                (60, 100, 250), (2, 12, 22), (0.9, 0.97, 0.99), (0.0, 0.5, 0.9)
            )
        ],
    }


def studied(job: tuple[str, Design, int, int, int]) -> tuple[str, Rate]:
    """One design of one study, with a generator of its own."""
    name, design, n_reps, seed, number = job
    rng = np.random.default_rng((seed, number))
    happens = STUDIES[name]
    hits, differing = 0, 0
    for _ in range(n_reps):
        one = draw(design, rng)
        hits += happens(one, design)
        differing += int(np.count_nonzero(one.arms[:, 0] != one.control))
    return name, Rate(design, hits / n_reps, differing / n_reps, n_reps)


def studies(
    n_reps: int, seed: int, workers: int, chosen: dict[str, list[Design]]
) -> dict[str, list[Rate]]:
    """Every study; results do not depend on the number of workers."""
    jobs = [(name, design) for name, listed in chosen.items() for design in listed]
    numbered = [(*job, n_reps, seed, number) for number, job in enumerate(jobs)]
    found: dict[str, list[Rate]] = {name: [] for name in chosen}
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(studied, numbered, chunksize=4)
        for name, one in tqdm(done, total=len(jobs), desc="simulating", unit="design"):
            found[name].append(one)
    return found


def summary(rates: list[Rate]) -> dict[str, object]:
    low, high = min(rates, key=lambda r: r.rate), max(rates, key=lambda r: r.rate)
    judged = [r for r in rates if r.expected_differing >= 10] or rates
    top = max(judged, key=lambda r: r.rate)
    return {
        "n_designs": len(rates),
        "mean": round(float(np.mean([r.rate for r in rates])), 4),
        "min": round(low.rate, 4),
        "min_at": asdict(low.design),
        "max": round(high.rate, 4),
        "max_at": asdict(high.design),
        "max_with_10_differing": round(top.rate, 4),
        "max_with_10_differing_at": asdict(top.design),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=2000, help="repetitions per design")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    started = time.perf_counter()
    found = studies(asked.reps, asked.seed, asked.workers, designs())
    line = {
        "benchmark": "inference",
        "reps": asked.reps,
        "seconds": round(time.perf_counter() - started, 1),
        **{name: summary(rates) for name, rates in found.items()},
    }
    json.dump(line, sys.stdout)
    print()


if __name__ == "__main__":
    main()
