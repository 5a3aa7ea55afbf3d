"""`--model emo-demo`: the small model that comes with the package."""

from __future__ import annotations

from typing import Any

from lm_eval.models.huggingface import HFLM

from emo_harness.lm_models import WEIGHTS


class EmbeddedLM(HFLM):
    """lm-eval's Hugging Face model on the embedded weights; takes the same arguments."""

    def __init__(self, pretrained: str | None = None, **kwargs: Any) -> None:
        super().__init__(pretrained=pretrained or str(WEIGHTS), **kwargs)
