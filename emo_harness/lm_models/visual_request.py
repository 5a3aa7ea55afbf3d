"""lm-eval's requests with images: text, what else is asked, and `{"visual": [images]}`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def images_of(request: Any) -> list[PILImage]:
    """The images of a request, none where it is one of text alone.

    Raises:
        UserError: something else than images is shown.
    """
    if len(request.args) < 3:
        return []
    shown = request.args[2]
    others = [name for name in shown if name != "visual" and shown[name]]
    if others:
        raise UserError(
            f"reading a request of the task {request.task_name}",
            found=f"something under {others[0]!r}",
            expected="text and images, which is what `hf-multimodal` takes",
            fix="ask this task of another model",
        )
    return list(shown.get("visual") or ())


def as_text(request: Any, text: str | None = None) -> Any:
    """The same request without images, and with another text where one is given."""
    if len(request.args) < 3 and text is None:
        return request
    before, other = request.args[:2]
    changed = copy.copy(request)
    changed.arguments = (before if text is None else text, other)
    return changed


def cut_to(made: Mapping[str, Any], kept: Any) -> dict[str, Any]:
    """A batch of one prompt with some of its tokens left: everything that has a value per token."""
    shape = made["input_ids"].shape
    return {
        name: value[:, kept] if getattr(value, "shape", None) == shape else value
        for name, value in made.items()
    }
