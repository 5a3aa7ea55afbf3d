"""Means over questions, taken in as they come: only sums are kept, whatever the run's size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from emo_harness.effects import LEVEL
from emo_harness.effects.intervals import t_p_value, t_quantile

Key = TypeVar("Key", bound=Hashable)
NAN = float("nan")


@dataclass(slots=True)
class Mean:
    """Mean and spread of `n` questions (Welford 1962, Technometrics 4, 419)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self.squares += step * (value - self.mean)

    @property
    def error(self) -> float:
        """Standard error; NaN of fewer than two questions."""
        return math.sqrt(self.squares / (self.n - 1) / self.n) if self.n > 1 else NAN

    def bounds(self, least: float = -math.inf, most: float = math.inf) -> list[float]:
        """Mean, and Student's t interval about it, within what it can be; NaN is unknown."""
        if not self.n:
            return [NAN, NAN, NAN]
        if self.n < 2:
            return [self.mean, NAN, NAN]
        half = float(t_quantile(LEVEL, self.n - 1)) * self.error
        return [self.mean, max(self.mean - half, least), min(self.mean + half, most)]

    @property
    def p(self) -> float:
        """Two-sided, that the mean is zero; NaN where the spread is not known."""
        if self.n < 2 or self.error == 0:
            return NAN
        return float(t_p_value(self.mean / self.error, self.n - 1))


class QuestionMeans(Generic[Key]):
    """A mean over questions for each key; a question counts once, however many prompts it has.

    Prompts of one question share all but a sentence, so that they are no independent witnesses.
    """

    def __init__(self) -> None:
        self._means: dict[Key, Mean] = {}

    def add_question(self, values: Iterable[tuple[Key, float]]) -> None:
        """What one question's prompts say; values of one key are averaged, NaN is left out."""
        found: defaultdict[Key, list[float]] = defaultdict(list)
        for key, value in values:
            if not math.isnan(value):
                found[key].append(value)
        for key, of_question in found.items():
            self._means.setdefault(key, Mean()).add(math.fsum(of_question) / len(of_question))

    def __iter__(self) -> Iterator[tuple[Key, Mean]]:
        """In the order in which keys first came."""
        return iter(self._means.items())

    def __len__(self) -> int:
        return len(self._means)

    def of(self, key: Key) -> Mean:
        return self._means.get(key, Mean())


class GatheredMeans(Generic[Key]):
    """As `QuestionMeans`, of questions whose prompts come in several turns: their sums are kept."""

    def __init__(self) -> None:
        self._sums: dict[Key, dict[Hashable, tuple[float, int]]] = {}

    def add(self, question: Hashable, values: Iterable[tuple[Key, float]]) -> None:
        """What some of a question's prompts say; NaN is left out."""
        for key, value in values:
            if not math.isnan(value):
                of_key = self._sums.setdefault(key, {})
                total, n = of_key.get(question, (0.0, 0))
                of_key[question] = (total + value, n + 1)

    def of(self, key: Key) -> Mean:
        mean = Mean()
        for total, n in self._sums.get(key, {}).values():
            mean.add(total / n)
        return mean
