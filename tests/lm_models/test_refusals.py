"""What cannot be loaded is told with what to do about it."""

from __future__ import annotations

import pytest

from emo_harness.errors import UserError
from emo_harness.lm_models.refusals import loading


@pytest.mark.parametrize(
    ("error", "host", "fix"),
    [
        (ImportError("VideoProcessor requires the Torchvision library"), "hf-multimodal", "pip"),
        (OSError("no config.json"), "hf", "pretrained="),
        (AttributeError("no attribute 'image_processor'"), "hf-multimodal", "emo-hf"),
    ],
)
def test_a_refusal_says_what_to_do(error: Exception, host: str, fix: str) -> None:
    with pytest.raises(UserError) as told, loading("some/model", host=host):
        raise error
    assert fix in told.value.fix and str(error) in told.value.found


def test_other_errors_are_not_told_as_the_users() -> None:
    with pytest.raises(AttributeError), loading("some/model"):
        raise AttributeError("a bug")
