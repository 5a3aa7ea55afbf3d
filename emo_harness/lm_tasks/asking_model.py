"""The model that lm-eval builds a task's requests for, as far as a task can know it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from lm_eval.api.model import CachingLM

from emo_harness.errors import UserError

_EVALUATOR = "lm_eval.evaluator"


def asking_model(chat_template: Callable[..., str] | None = None) -> Any | None:
    """The model whose evaluation is building requests; None where that cannot be told.

    lm-eval hands a task the model's chat template where there is one to apply, and nothing of the
    model otherwise; then its evaluation is looked for among the callers.
    """
    owner = getattr(chat_template, "__self__", None)
    if owner is not None:
        return owner
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == _EVALUATOR and "lm" in frame.f_locals:
            found = frame.f_locals["lm"]
            # With --use_cache, what keeps answers stands before the model.
            return found.lm if isinstance(found, CachingLM) else found
        frame = frame.f_back  # type: ignore[assignment]
    return None


def refuse_unable(model: Any | None, task: str, *, options: bool, mixed: bool) -> None:
    """Refuse a model of lm-eval's own that cannot answer a visual task's requests.

    Its multimodal models look at the first request of a run to tell whether it has images, and
    answer by generating alone.

    Args:
        model: None passes.
        options: whether images are asked for log-likelihoods (multiple choice).
        mixed: whether some requests have images and others have none.

    Raises:
        UserError: names what to ask instead.
    """
    name = "loglikelihood" if options else "generate_until"
    method = getattr(type(model), name, None)
    if model is None or not getattr(method, "__module__", "").startswith("lm_eval."):
        return
    if options:
        raise UserError(
            f"asking {task} of {type(model).__name__}",
            found="multiple choice with images, of a model that can only generate answers then",
            expected="a model that rates options beside images",
            fix="use `emo run --model emo-vlm`, or the task without mc",
        )
    if mixed:
        raise UserError(
            f"asking {task} of {type(model).__name__}",
            found="prompts with images and prompts without, of a model that cannot have both in "
            "one run",
            expected="an image in every prompt",
            fix="""set "control_image": "grey" and leave no-image out, or use """
            "`emo run --model emo-vlm`",
        )
