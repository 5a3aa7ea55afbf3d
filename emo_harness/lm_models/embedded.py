"""`--model emo-demo`: the small model that comes with the package."""

from __future__ import annotations

from typing import Any

from lm_eval.models.huggingface import HFLM

from emo_harness.resources import PACKAGE

WEIGHTS = PACKAGE / "demo" / "weights" / "emo-demo-lm"


class EmbeddedLM(HFLM):
    """lm-eval's Hugging Face model on the embedded weights; takes the same arguments."""

    def __init__(self, pretrained: str | None = None, **kwargs: Any) -> None:
        super().__init__(pretrained=pretrained or str(WEIGHTS), **kwargs)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes of the model into its results, and where the weights lie."""
        return {**super().get_model_info(), "pretrained": str(WEIGHTS)}
