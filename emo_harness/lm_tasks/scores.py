"""From one question's scores, arm by arm, to the numbers that lm-eval averages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from emo_harness.lm_tasks.arms import Arm

SCRAMBLED = ("pixel-scrambled", "phase-scrambled")
# Families of which the best stimulus is of interest as well.
WITH_BEST = ("prompt", "visual-prompt")


@dataclass(frozen=True)
class QuestionScores:
    """The scores of one question under every arm.

    Attributes:
        arms: the arms in the run's order.
        by_arm: arm id to score.
        family: the task's family; `all` reports each of its stimuli's families on its own, and
            `decoded` each family that its stimuli were decoded from, where they are several, and a
            visual task each family beside its own.
    """

    arms: Sequence[Arm]
    by_arm: Mapping[str, float]
    family: str

    def named(self, metric: str) -> dict[str, float]:
        """Every reported number by its name in lm-eval's table.

        A plain mean over questions of each is the paired estimate: `_gain` is the mean over the
        family's stimuli minus control, `_gain_vs_placebo` minus the neutral placebos' mean (of
        images the neutral images'), `_gain_vs_scrambled` minus the scrambled images' mean,
        `_worst` and `_best` the minimum and maximum over stimuli within the question.
        """
        control = next(self.by_arm[a.id] for a in self.arms if a.kind == "control")
        placebo = self._mean("neutral", images=self._visual)
        scrambled = self._mean(*SCRAMBLED, images=True)
        named: dict[str, float] = {}
        families = self._families()
        for family, members in families.items():
            scores = [self.by_arm[arm.id] for arm in members]
            stem = f"{metric}_{family}" if self._is_labelled(family, families) else metric
            average = sum(scores) / len(scores)
            named[stem] = average
            named[f"{stem}_gain"] = average - control
            shows = all(arm.stimulus and arm.stimulus.image for arm in members)
            beside = self._mean("neutral", images=shows)
            if beside is not None:
                named[f"{stem}_gain_vs_placebo"] = average - beside
            if scrambled is not None and shows:
                named[f"{stem}_gain_vs_scrambled"] = average - scrambled
            named[f"{stem}_worst"] = min(scores)
            if (family if stem != metric else self.family) in WITH_BEST:
                named[f"{stem}_best"] = max(scores)
        named[f"{metric}_control"] = control
        if placebo is not None:
            named[f"{metric}_placebo"] = placebo
        if scrambled is not None:
            named[f"{metric}_scrambled"] = scrambled
        return named

    @property
    def _visual(self) -> bool:
        return any(a.kind == "stimulus" and a.stimulus and a.stimulus.image for a in self.arms)

    def _is_labelled(self, family: str, families: Collection[str]) -> bool:
        """Whether a family's numbers bear its name, since they are not the only ones.

        Beside other families, that of a visual task is still the one that the task is about.
        """
        if self.family == "all":
            return True
        return len(families) > 1 and not (family == self.family and self._visual)

    def _mean(self, *kinds: str, images: bool) -> float | None:
        """Mean over the placebos of these kinds that are images, or sentences."""
        chosen = [
            self.by_arm[arm.id]
            for arm in self.arms
            if arm.stimulus and arm.stimulus.placebo in kinds
            if bool(arm.stimulus.image) == images
        ]
        return sum(chosen) / len(chosen) if chosen else None

    def _families(self) -> dict[str, list[Arm]]:
        families: dict[str, list[Arm]] = {}
        for arm in self.arms:
            if arm.kind == "stimulus" and arm.stimulus:
                families.setdefault(arm.stimulus.lineage, []).append(arm)
        return families


def share(by_arm: Sequence[Mapping[str, float]]) -> float:
    """Mean over questions of the mean over arms: the one number lm-eval needs per key."""
    return sum(sum(q.values()) / len(q) for q in by_arm) / len(by_arm)
