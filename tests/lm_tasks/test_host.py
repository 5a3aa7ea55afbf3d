"""`emo run`: mistakes in the arguments are told before a model is loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.lm_tasks.host import run

VISUAL = "emo_bbh_visual_mini_attack"
TEXTUAL = "emo_bbh_mini_attack"


def metadata(**options: Any) -> list[str]:
    return ["--metadata", json.dumps({"emo": options})]


@pytest.mark.parametrize(
    ("task", "arguments", "told"),
    [
        (TEXTUAL, ["--limit", "0"], "--limit 0"),
        (TEXTUAL, ["--limit", "-1"], "--limit -1"),
        (TEXTUAL, metadata(stimuli=["ea99"]), "ea99"),
        (VISUAL, metadata(stimuli=["img:feer-1"]), "nearest: 'fear-1'"),
        (VISUAL, metadata(images="nowhere"), "no such folder"),
        (VISUAL, metadata(image_order="middle"), "first, last"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    task: str, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("lm_eval.evaluator.simple_evaluate", loaded)
    monkeypatch.setattr("lm_eval.simple_evaluate", loaded)
    with pytest.raises(UserError, match=told):
        run(["--model", "emo-vlm", "--model_args", "pretrained=x", "--tasks", task, *arguments])
