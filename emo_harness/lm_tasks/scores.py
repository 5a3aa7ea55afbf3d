"""From one question's scores, arm by arm, to the numbers that lm-eval averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_harness.lm_tasks.arms import Arm


@dataclass(frozen=True)
class QuestionScores:
    """The scores of one question under every arm.

    Attributes:
        arms: the arms in the run's order.
        by_arm: arm id to score.
        family: the task's family; `all` reports each of its stimuli's families on its own, and
            `decoded` each family that its stimuli were decoded from, where they are several.
    """

    arms: Sequence[Arm]
    by_arm: Mapping[str, float]
    family: str

    def named(self, metric: str) -> dict[str, float]:
        """Every reported number by its name in lm-eval's table.

        A plain mean over questions of each is the paired estimate: `_gain` is the mean over the
        family's stimuli minus control, `_gain_vs_placebo` minus the neutral placebos' mean,
        `_worst` and `_best` the minimum and maximum over stimuli within the question.
        """
        control = next(self.by_arm[a.id] for a in self.arms if a.kind == "control")
        neutral = [
            self.by_arm[a.id] for a in self.arms if a.stimulus and a.stimulus.placebo == "neutral"
        ]
        placebo = sum(neutral) / len(neutral) if neutral else None
        named: dict[str, float] = {}
        families = self._families()
        separate = self.family == "all" or len(families) > 1
        for family, scores in families.items():
            stem = f"{metric}_{family}" if separate else metric
            average = sum(scores) / len(scores)
            named[stem] = average
            named[f"{stem}_gain"] = average - control
            if placebo is not None:
                named[f"{stem}_gain_vs_placebo"] = average - placebo
            named[f"{stem}_worst"] = min(scores)
            if (family if separate else self.family) == "prompt":
                named[f"{stem}_best"] = max(scores)
        named[f"{metric}_control"] = control
        if placebo is not None:
            named[f"{metric}_placebo"] = placebo
        return named

    def _families(self) -> dict[str, list[float]]:
        families: dict[str, list[float]] = {}
        for arm in self.arms:
            if arm.kind == "stimulus" and arm.stimulus:
                families.setdefault(arm.stimulus.lineage, []).append(self.by_arm[arm.id])
        return families


def share(by_arm: Sequence[Mapping[str, float]]) -> float:
    """Mean over questions of the mean over arms: the one number lm-eval needs per key."""
    return sum(sum(q.values()) / len(q) for q in by_arm) / len(by_arm)
