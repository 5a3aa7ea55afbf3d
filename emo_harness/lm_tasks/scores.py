"""From one question's scores, arm by arm, to the numbers that lm-eval averages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from emo_harness.lm_tasks.arms import Arm

NEUTRAL = ("neutral",)
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
        family's stimuli minus control; `_gain_vs_placebo` minus the neutral placebos' mean, and
        of images the mean over those that have a neutral twin minus these twins;
        `_gain_vs_scrambled` likewise over images that have scrambled copies; `_worst` and `_best`
        the minimum and maximum over stimuli within the question.
        """
        control = next(self.by_arm[a.id] for a in self.arms if a.kind == "control")
        named: dict[str, float] = {}
        families = self._families()
        for family, members in families.items():
            scores = [self.by_arm[arm.id] for arm in members]
            stem = f"{metric}_{family}" if self._is_labelled(family, families) else metric
            average = sum(scores) / len(scores)
            named[stem] = average
            named[f"{stem}_gain"] = average - control
            for name, kinds in (("placebo", NEUTRAL), ("scrambled", SCRAMBLED)):
                gain = self._gain_over(members, kinds)
                if gain is not None:
                    named[f"{stem}_gain_vs_{name}"] = gain
            named[f"{stem}_worst"] = min(scores)
            if (family if stem != metric else self.family) in WITH_BEST:
                named[f"{stem}_best"] = max(scores)
        named[f"{metric}_control"] = control
        for name, kinds in (("placebo", NEUTRAL), ("scrambled", SCRAMBLED)):
            beside = self._placebos(kinds, images=self._visual)
            if beside:
                named[f"{metric}_{name}"] = self._mean(beside)
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

    def _gain_over(self, members: Sequence[Arm], kinds: Collection[str]) -> float | None:
        """Of sentences over the placebos of these kinds; of images each over its own controls.

        None where there are none, and for images with sentences, which no control is like.
        """
        images = [arm.stimulus.image for arm in members if arm.stimulus and arm.stimulus.image]
        if len(images) < len(members):
            beside = self._placebos(kinds, images=False)
            return self._mean(members) - self._mean(beside) if beside else None
        if any(arm.text for arm in members):
            return None
        controls: dict[str | None, list[Arm]] = {}
        for arm in self._placebos(kinds, images=True):
            if arm.stimulus and arm.stimulus.image:
                controls.setdefault(arm.stimulus.image.control_of, []).append(arm)
        gains = [
            self.by_arm[arm.id] - self._mean(controls[image.id])
            for arm, image in zip(members, images, strict=True)
            if image.derived is None and image.id in controls
        ]
        return sum(gains) / len(gains) if gains else None

    def _placebos(self, kinds: Collection[str], *, images: bool) -> list[Arm]:
        """The placebos of these kinds that are images, or sentences."""
        return [
            arm
            for arm in self.arms
            if arm.stimulus and arm.stimulus.placebo in kinds
            if bool(arm.stimulus.image) == images
        ]

    def _mean(self, arms: Sequence[Arm]) -> float:
        return sum(self.by_arm[arm.id] for arm in arms) / len(arms)

    def _families(self) -> dict[str, list[Arm]]:
        families: dict[str, list[Arm]] = {}
        for arm in self.arms:
            if arm.kind == "stimulus" and arm.stimulus:
                families.setdefault(arm.stimulus.lineage, []).append(arm)
        return families


def share(by_arm: Sequence[Mapping[str, float]]) -> float:
    """Mean over questions of the mean over arms: the one number lm-eval needs per key."""
    return sum(sum(q.values()) / len(q) for q in by_arm) / len(by_arm)
