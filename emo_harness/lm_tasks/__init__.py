"""The lm-eval side: the task classes that ask one question under all its arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emo_harness.lm_tasks.emotion_task import EmotionTask
    from emo_harness.lm_tasks.visual_task import VisualEmotionTask

__all__ = ["EmotionTask", "VisualEmotionTask"]


def __getattr__(name: str) -> Any:
    # Expanding tasks (at build time, without lm-eval) must not import the task classes.
    if name == "EmotionTask":
        from emo_harness.lm_tasks.emotion_task import EmotionTask

        return EmotionTask
    if name == "VisualEmotionTask":
        from emo_harness.lm_tasks.visual_task import VisualEmotionTask

        return VisualEmotionTask
    raise AttributeError(name)
