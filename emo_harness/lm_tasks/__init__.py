"""The lm-eval side: the task class that asks one question under all its arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emo_harness.lm_tasks.emotion_task import EmotionTask

__all__ = ["EmotionTask"]


def __getattr__(name: str) -> Any:
    # Expanding tasks (at build time, without lm-eval) must not import the task class.
    if name == "EmotionTask":
        from emo_harness.lm_tasks.emotion_task import EmotionTask

        return EmotionTask
    raise AttributeError(name)
