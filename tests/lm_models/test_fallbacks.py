"""What cannot be shared is answered by `hf` itself, and the reason is recorded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.lm_models.shared_prefix import SharedPrefixLM
from tests.lm_models.local_models import (
    assert_same_scores,
    ours,
    saved,
    scores,
    texts,
    theirs,
    tokenizer,
)
from tests.prefix.tiny_models import randomised

SHORT = ["Q: Is it true?", "Q: Is it a box?", "Q: Is it a key?\nYou failed again."]
LONG = [f"{text} " + "The room is behind the door. " * 4 for text in SHORT]
OPTIONS = (" True", " False")
RULE = {"until": ["\n\n"], "max_gen_toks": 6}
# Of tokens: longer than the self-check's prompts of 36, shorter than `LONG`.
WINDOW = 48


def pairs_of(prompts: list[str]) -> list[tuple[str, str]]:
    return [(prompt, option) for prompt in prompts for option in OPTIONS]


def assert_all_as_the_host(lm: SharedPrefixLM, folder: Path) -> None:
    hf = theirs(folder)
    prompts = SHORT + LONG
    assert_same_scores(scores(lm, pairs_of(prompts)), scores(hf, pairs_of(prompts)))
    assert texts(lm, prompts, RULE) == texts(hf, prompts, RULE)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("bloom", "'bloom'"),
        ("mpt", "'mpt'"),
        ("gpt_neo", "'gpt_neo'"),
        ("gemma2", "'gemma2'"),
        ("llama_rope_dynamic", "rope 'dynamic'"),
    ],
)
def test_models_that_would_be_wrong_in_silence_are_left_to_the_host(
    kind: str, reason: str, tmp_path: Path
) -> None:
    changes = {"max_position_embeddings": 40} if kind == "llama_rope_dynamic" else {}
    folder = saved(tmp_path, kind, **changes)
    arguments = {"max_length": 160} if changes else {}
    lm = ours(folder, **arguments)
    hf = theirs(folder, **arguments)
    prompts = SHORT + LONG
    assert_same_scores(scores(lm, pairs_of(prompts)), scores(hf, pairs_of(prompts)))
    assert texts(lm, prompts, RULE) == texts(hf, prompts, RULE)
    told = lm.get_model_info()["emo_hf"]
    assert told["backend"] == "hf"
    assert reason in told["why"]
    assert told["fallbacks"] == {told["why"]: 3 * len(prompts)}
    assert told["sharing_ratio"] is None
    assert told["computed_tokens"] == 0


def test_an_encoder_decoder_is_left_to_the_host(tmp_path: Path) -> None:
    import transformers

    config = transformers.T5Config(
        vocab_size=len(tokenizer()),
        d_model=32,
        d_ff=32,
        d_kv=8,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=1,
        eos_token_id=1,
        pad_token_id=1,
    )
    randomised(transformers.T5ForConditionalGeneration(config).eval()).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    lm = ours(tmp_path)
    assert_all_as_the_host(lm, tmp_path)
    assert lm.get_model_info()["emo_hf"]["why"] == "an encoder-decoder model"


@pytest.mark.parametrize("kind", ["mistral", "phi3", "starcoder2", "gemma3_text"])
def test_only_what_is_longer_than_the_window_is_left_to_the_host(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, kind, sliding_window=WINDOW)
    n_tokens = [len(tokenizer().encode(prompt)) for prompt in SHORT + LONG]
    assert max(n_tokens[:3]) + 6 < WINDOW < min(n_tokens[3:])
    lm = ours(folder)
    assert lm.get_model_info()["emo_hf"]["backend"] == "packed"
    assert_all_as_the_host(lm, folder)
    [(reason, n_requests)] = lm.sharing.fallbacks.items()
    assert reason == f"prompts beyond the attention window of {WINDOW} tokens"
    assert n_requests == len(pairs_of(LONG)) + len(LONG)
    assert lm.sharing.computed_tokens > 0


@pytest.mark.parametrize("over", [-1, 0, 1, 2])
def test_the_edge_of_the_window_is_drawn_where_the_model_draws_it(
    over: int, tmp_path: Path
) -> None:
    folder = saved(tmp_path, "mistral", sliding_window=WINDOW)
    lm, hf = ours(folder), theirs(folder)
    # The option's last token is never computed.
    prompt = "z" * (WINDOW + over)
    asked = [(prompt, "z"), (prompt, "q")]
    assert_same_scores(scores(lm, asked), scores(hf, asked))
    assert sum(lm.sharing.fallbacks.values()) == (2 if over > 0 else 0)
    prompt = "z" * (WINDOW + over - 6)
    assert texts(lm, [prompt], RULE) == texts(hf, [prompt], RULE)


def test_a_window_as_long_as_the_context_is_no_window(tmp_path: Path) -> None:
    folder = saved(tmp_path, "mistral", sliding_window=200)
    lm = ours(folder)
    assert_all_as_the_host(lm, folder)
    assert not lm.sharing.fallbacks


def test_a_window_shorter_than_the_self_check_leaves_the_short_prompts_packed(
    tmp_path: Path,
) -> None:
    folder = saved(tmp_path, "mistral", sliding_window=20)
    lm = ours(folder)
    assert lm.get_model_info()["emo_hf"]["backend"] == "packed"
    assert_all_as_the_host(lm, folder)
    assert lm.sharing.fallbacks
    assert lm.sharing.computed_tokens > 0


def test_a_failed_self_check_leaves_everything_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_harness.prefix.units import Unit

    folder = saved(tmp_path, "llama")
    with monkeypatch.context() as broken:
        broken.setattr(Unit, "visible", lambda unit: np.tri(len(unit), dtype=bool))
        lm = ours(folder)
    assert "differ" in lm.get_model_info()["emo_hf"]["why"]
    assert_all_as_the_host(lm, folder)


def test_each_reason_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def warnings() -> list[str]:
        found = [r.getMessage() for r in caplog.records if r.name.startswith("emo_harness")]
        caplog.clear()
        return found

    caplog.set_level(logging.WARNING)
    lm = ours(saved(tmp_path / "bloom", "bloom"))
    assert ["'bloom'" in message for message in warnings()] == [True]
    for _ in range(2):
        scores(lm, pairs_of(SHORT))
        texts(lm, SHORT, RULE)
    assert warnings() == []

    lm = ours(saved(tmp_path / "llama", "llama"))
    assert warnings() == []
    for _ in range(2):
        texts(lm, SHORT, {**RULE, "num_beams": 2})
    assert ["num_beams=2" in message for message in warnings()] == [True]


def test_an_lm_eval_run_records_what_was_shared(tmp_path: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from tests.conftest import build_task

    lm = ours(saved(tmp_path, "llama", max_position_embeddings=1024))
    task = build_task("emo_bbh_mini_attack_boolean_expressions", stimuli=["ea01", "ea02"])
    task.set_config("generation_kwargs", {"until": ["\n\n"], "max_gen_toks": 2})
    manager = TaskManager(include_defaults=False)
    results = simple_evaluate(lm, tasks=[task], limit=2, bootstrap_iters=0, task_manager=manager)
    told: dict[str, Any] = results["config"]["emo_hf"]
    assert told["backend"] == "packed"
    assert told["computed_tokens"] == told["distinct_tokens"] < told["naive_tokens"]
    assert told["sharing_ratio"] == pytest.approx(
        told["naive_tokens"] / told["computed_tokens"], abs=1e-3
    )
    assert told["fallbacks"] == {}
