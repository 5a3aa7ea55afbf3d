"""`emo images rate`, as a user calls it wrongly."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from emo_harness.cli.main import app
from emo_harness.errors import UserError


@pytest.mark.parametrize("backend", ["hf-multimodal", "emo-vlm"])
def test_a_model_of_text_is_refused_in_the_name_of_what_takes_images(backend: str) -> None:
    arguments = ["--model", "emo-demo-lm", "--backend", backend, "--method", "answer"]
    done = CliRunner().invoke(app, ["images", "rate", "emoji", *arguments, "--device", "cpu"])
    assert isinstance(done.exception, UserError)
    # emo-vlm's arguments are those of hf-multimodal.
    assert "multimodal model" in done.exception.expected
    assert "`hf-multimodal` takes" in done.exception.expected
