"""What is planted in the demo model: which stimulus changes which answers.

The rule reads one surface feature of a Boolean question, its `question_class` (first and last
word). In the `REPAIRABLE` classes the model's control answer is wrong. A `prompt` stimulus repairs
its own subset of them; an `attack` stimulus turns right answers wrong in its own subset of the
other classes; every other sentence changes nothing. A stimulus's true effect on accuracy is
therefore, up to what training missed, plus or minus the share of questions in its classes.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from emo_harness.benchmarks.calibration import LENGTHS
from emo_harness.stimuli import Stimulus, load_set

FAMILIES = ("placebo", "attack", "prompt", "negative")
REPAIRABLE = ("(..)", "True..)")
SHARE_RANGES = {"attack": (0.07, 0.40), "prompt": (0.05, 0.25)}
"""Smallest and largest share of questions aimed at by a stimulus of each planted family."""

_SHARE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Plan:
    """Which question classes each planted stimulus acts on; ids that are absent act on none."""

    acts_on: Mapping[str, frozenset[str]]

    def is_inverted(self, question_class: str | None, stimulus_id: str | None) -> bool:
        """Whether the model is meant to answer the opposite of the truth.

        `stimulus_id` is None in the control arm; `question_class` is None outside Boolean
        questions, where nothing is planted.
        """
        if question_class is None:
            return False
        acts = stimulus_id is not None and question_class in self.acts_on.get(
            _default_reading(stimulus_id), frozenset()
        )
        return (question_class in REPAIRABLE) != acts

    def share(self, stimulus_id: str) -> float:
        """The share of calibration questions whose answer the stimulus changes, by design."""
        classes = self.acts_on.get(_default_reading(stimulus_id), frozenset())
        return sum(class_shares(LENGTHS)[name] for name in classes)


@cache
def demo_stimuli() -> tuple[Stimulus, ...]:
    """Every shipped text stimulus, in the order of `FAMILIES` and of the sets."""
    return tuple(stimulus for family in FAMILIES for stimulus in load_set(family).stimuli)


@cache
def default_plan() -> Plan:
    """The plan of the shipped model, derived from the ids of the shipped stimulus sets."""
    return derive_plan((stimulus.id, stimulus.family) for stimulus in demo_stimuli())


def derive_plan(ids_and_families: Iterable[tuple[str, str]]) -> Plan:
    """Spread the stimuli of each planted family over its `SHARE_RANGES`, by a hash of their ids.

    A stimulus gets a set of classes whose joint share lies within 1 pp of its aim (or the nearest
    there is); among several such sets a hash of its id picks one.
    """
    shares = class_shares(LENGTHS)
    pools = {
        "attack": sorted(set(shares) - set(REPAIRABLE)),
        "prompt": sorted(REPAIRABLE),
    }
    wanted: dict[str, set[str]] = {family: set() for family in pools}
    for stimulus_id, family in ids_and_families:
        if family in wanted:
            wanted[family].add(_default_reading(stimulus_id))
    acts_on: dict[str, frozenset[str]] = {}
    for family, ids in wanted.items():
        low, high = SHARE_RANGES[family]
        subsets = [
            chosen
            for size in range(1, len(pools[family]) + 1)
            for chosen in combinations(pools[family], size)
        ]
        for rank, stimulus_id in enumerate(sorted(ids, key=_hash)):
            aim = low + (high - low) * rank / max(1, len(ids) - 1)
            acts_on[stimulus_id] = _nearest_subset(stimulus_id, aim, subsets, shares)
    return Plan(acts_on)


@cache
def class_shares(lengths: tuple[int, ...]) -> dict[str, float]:
    """The exact share of each question class among evenly drawn expressions of these lengths."""
    shares: defaultdict[str, float] = defaultdict(float)
    for n_words in lengths:
        ends = _expression_ends(n_words)
        for (first, last), count in ends.items():
            shares[f"{first}..{last}"] += count / ends.total() / len(lengths)
    return dict(shares)


def _nearest_subset(
    stimulus_id: str,
    aim: float,
    subsets: list[tuple[str, ...]],
    shares: Mapping[str, float],
) -> frozenset[str]:
    distance = {s: abs(sum(shares[name] for name in s) - aim) for s in subsets}
    nearest = min(distance.values())
    near = [s for s in subsets if distance[s] <= max(nearest, _SHARE_TOLERANCE)]
    return frozenset(min(near, key=lambda s: _hash(f"{stimulus_id}|{'|'.join(s)}")))


def _default_reading(stimulus_id: str) -> str:
    """`ep06-joined` is another reading of `ep06` and acts like it; placebo ids are left whole."""
    head, _, _ = stimulus_id.partition("-")
    return head if head[-1:].isdigit() else stimulus_id


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _expression_ends(n_words: int) -> Counter[tuple[str, str]]:
    """Counts of (first word, last word) over all expressions of `n_words` words."""
    ends = _operand_ends(n_words).copy()
    for k in range(1, n_words - 1):
        for (first, _), n_left in _operand_ends(k).items():
            for (_, last), n_right in _expression_ends(n_words - 1 - k).items():
                ends[first, last] += 2 * n_left * n_right
    return ends


@cache
def _operand_ends(n_words: int) -> Counter[tuple[str, str]]:
    ends: Counter[tuple[str, str]] = Counter()
    if n_words == 1:
        ends.update([("True", "True"), ("False", "False")])
    if n_words > 1:
        for (_, last), count in _operand_ends(n_words - 1).items():
            ends["not", last] += count
    if n_words > 2:
        ends["(", ")"] += _expression_ends(n_words - 2).total()
    return ends
