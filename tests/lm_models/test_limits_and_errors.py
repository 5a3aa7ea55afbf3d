"""Budgets are kept, memory that runs out loses nothing, and mistakes are told without traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.errors import UserError
from emo_harness.lm_models import prefix_sharing, prompt_encoder
from emo_harness.lm_models.shared_prefix import SharedPrefixLM
from emo_harness.prefix import build_trie, parse_bytes
from tests.lm_models.local_models import (
    POSITIONS,
    assert_same_scores,
    failing_passes,
    ours,
    requests,
    saved,
    scores,
    texts,
    theirs,
    tokenizer,
)
from tests.prefix.live_bytes import LiveBytes
from tests.prefix.sequences import as_tokens

EXAMPLES = "Q: Is the box in the room? A: True\n\nQ: Is the key in the box? A: False\n\n"
PROMPTS = [
    f"{EXAMPLES}{question}{arm}\nA:"
    for question in ("Q: Is this true?", "Q: Is the door open?", "Q: Is it?")
    for arm in ("", "\nYou failed again.", "\nYour friend is sick.")
]
PAIRS = [(prompt, option) for prompt in PROMPTS for option in (" True", " False")]
RULE = {"until": ["\n\n"], "max_gen_toks": 8}
SAMPLING = {"until": [], "max_gen_toks": 8, "temperature": 1.0}
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), "llama")


@pytest.fixture(scope="module")
def lm(folder: Path) -> SharedPrefixLM:
    return ours(folder)


def needed(folder: Path, ask: Any) -> dict[str, int]:
    """Bytes that an error names as needed, and as what to set."""
    with pytest.raises(UserError) as told:
        ask(ours(folder, memory_budget=1000))
    assert told.value.found == "a budget of 1000 bytes"
    expected = re.match(r"at least ([\d.]+ \w+) for the longest prompt", told.value.expected)
    fix = re.search(r"memory_budget=([\d.]+\w+)", told.value.fix)
    assert expected
    assert fix
    return {"needed": parse_bytes(expected[1]), "to set": parse_bytes(fix[1])}


def test_a_budget_that_is_no_size_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="memory_budget"):
        ours(tmp_path / "nothing here", memory_budget="plenty")


@pytest.mark.parametrize("which", ["needed", "to set"])
def test_the_memory_named_as_needed_is_enough(which: str, folder: Path, lm: Any) -> None:
    budget = needed(folder, lambda one: scores(one, PAIRS))[which]
    assert_same_scores(scores(ours(folder, memory_budget=budget), PAIRS), scores(lm, PAIRS))


@pytest.mark.parametrize("which", ["needed", "to set"])
def test_the_memory_named_as_needed_is_enough_to_generate(
    which: str, folder: Path, lm: Any
) -> None:
    budget = needed(folder, lambda one: texts(one, PROMPTS, RULE))[which]
    found = texts(ours(folder, memory_budget=budget), PROMPTS, RULE)
    assert found == texts(lm, PROMPTS, RULE)


def test_the_memory_named_for_rows_is_enough(folder: Path) -> None:
    """Long generations weigh more than the passes: the error then comes later."""
    rule = {"until": [], "max_gen_toks": 100}
    prompts = [EXAMPLES[:20] + text for text in "abc"]
    passes = needed(folder, lambda one: texts(one, prompts, rule))["needed"]
    budget = passes
    for _ in range(3):
        try:
            found = texts(ours(folder, memory_budget=budget), prompts, rule)
            break
        except UserError as error:
            named = re.search(r"memory_budget=([\d.]+\w+)", error.fix)
            assert named
            assert parse_bytes(named[1]) > budget
            budget = parse_bytes(named[1])
    assert found == texts(ours(folder), prompts, rule)


@pytest.mark.parametrize("times", [1.0, 1.5, 3.0, 10.0])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_any_budget_that_works_gives_the_same_answers_within_it(
    times: float, kind: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, kind)
    hf = theirs(folder)
    least = max(
        needed(folder, lambda one: scores(one, PAIRS))["to set"],
        needed(folder, lambda one: texts(one, PROMPTS, RULE))["to set"],
    )
    budget = int(times * least)
    small = ours(folder, memory_budget=budget)
    with LiveBytes() as live:
        found = scores(small, PAIRS)
    assert live.peak <= budget
    assert_same_scores(found, scores(hf, PAIRS))
    with LiveBytes() as live:
        said = texts(small, PROMPTS, RULE)
    assert live.peak <= budget
    assert said == texts(hf, PROMPTS, RULE)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["accelerator", "host"])
@pytest.mark.parametrize("seed", range(4))
def test_memory_that_runs_out_anywhere_loses_no_score(
    error: Exception, seed: int, folder: Path, lm: Any
) -> None:
    rng = np.random.default_rng(seed)
    # Passes of 16 tokens, so that there are many.
    small = ours(folder, memory_budget=needed(folder, lambda one: scores(one, PAIRS))["to set"])
    n_failures = 0

    def fails(n: int) -> Exception | None:
        nonlocal n_failures
        happens = n_failures < 3 and rng.random() < 0.3
        n_failures += happens
        return error if happens else None

    heard: list[Any] = []
    small.cache_hook.add_partial = lambda attr, req, res: heard.append(req)  # type: ignore
    with failing_passes(small, fails):
        found = scores(small, PAIRS)
    assert_same_scores(found, scores(lm, PAIRS))
    assert sorted(heard) == sorted(PAIRS)
    assert small.sharing.halvings == n_failures > 0
    assert small.get_model_info()["emo_hf"]["halvings"] == n_failures


@pytest.mark.parametrize("settings", [RULE, SAMPLING], ids=["greedy", "sampling"])
@pytest.mark.parametrize("failing_pass", [0, 1, 3, 6])
def test_memory_that_runs_out_anywhere_changes_no_generation(
    failing_pass: int, settings: dict[str, Any], folder: Path, lm: Any
) -> None:
    torch.manual_seed(0)
    expected = texts(lm, PROMPTS, settings)
    fresh = ours(folder)
    with failing_passes(fresh, lambda n: OUT_OF_MEMORY[0] if n == failing_pass else None):
        found = texts(fresh, PROMPTS, settings)
    assert found == expected
    assert fresh.sharing.halvings == 1


def test_memory_that_never_suffices_is_told(folder: Path) -> None:
    fresh = ours(folder)
    with failing_passes(fresh, lambda n: OUT_OF_MEMORY[1]):
        with pytest.raises(UserError, match="no memory left"):
            scores(fresh, PAIRS)
        with pytest.raises(UserError, match="no memory left"):
            texts(fresh, PROMPTS, RULE)


def test_other_errors_of_the_model_keep_their_traceback(folder: Path) -> None:
    fresh = ours(folder)
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with (
        failing_passes(fresh, lambda n: error if n == 1 else None),
        pytest.raises(RuntimeError) as told,
    ):
        texts(fresh, PROMPTS, RULE)
    assert told.value is error
    assert fresh.sharing.halvings == 0


# Mistakes


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in told.items() if k not in ("eos_token",)}))
    with pytest.raises(UserError) as error:
        ours(folder)
    assert error.value.found == "no end-of-text token"
    assert str(folder) in error.value.doing


@pytest.mark.parametrize("where", ["embedding", "head"])
def test_nan_logits_are_told_and_never_scored(where: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    poisoned = ours(folder)
    [token] = tokenizer().encode("Q", add_special_tokens=False)
    with torch.no_grad():
        weights = {
            "embedding": poisoned.model.get_input_embeddings().weight,
            "head": poisoned.model.get_output_embeddings().weight,
        }
        weights[where][token] = float("nan")
    for ask in (lambda: scores(poisoned, PAIRS), lambda: texts(poisoned, PROMPTS, RULE)):
        with pytest.raises(UserError) as told:
            ask()
        assert "NaN" in told.value.found
        assert "float32" in told.value.found


def test_nan_while_generating_is_told(tmp_path: Path) -> None:
    """The prompts are sound; what is generated first is not."""
    folder = saved(tmp_path, "llama")
    poisoned = ours(folder)
    [first, *_] = texts(poisoned, PROMPTS[:1], {"until": [], "max_gen_toks": 1})
    [token] = tokenizer().encode(first, add_special_tokens=False)
    with torch.no_grad():
        poisoned.model.get_input_embeddings().weight[token] = float("nan")
    with pytest.raises(UserError, match="NaN"):
        texts(poisoned, PROMPTS[:1], RULE)


@pytest.mark.parametrize("max_gen_toks", [POSITIONS, POSITIONS + 1, 10_000])
def test_more_tokens_than_the_context_window_are_refused(max_gen_toks: int, lm: Any) -> None:
    with pytest.raises(UserError) as told:
        texts(lm, PROMPTS[:1], {"max_gen_toks": max_gen_toks})
    assert f"{max_gen_toks:,}" in told.value.found
    assert f"{POSITIONS}" in told.value.expected


@pytest.mark.parametrize(
    "settings",
    [
        {"max_gen_toks": 0},
        {"max_gen_toks": -3},
        {"max_gen_toks": 4, "temperature": 1.0, "top_k": -1},
        {"max_gen_toks": 4, "temperature": 1.0, "min_p": 2.0},
        {"max_gen_toks": 4, "repetition_penalty": -1.0},
        {"max_gen_toks": 4, "repetition_penalty": 0.0},
        {"max_gen_toks": 4, "temperature": "hot"},
        {"max_gen_toks": "many"},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_told(settings: dict[str, Any], lm: Any) -> None:
    with pytest.raises(UserError):
        texts(lm, PROMPTS[:1], settings)


def test_one_token_less_than_the_context_window_is_generated(folder: Path) -> None:
    rule = {"until": [], "max_gen_toks": POSITIONS - 1}
    lm, hf = ours(folder), theirs(folder)
    assert texts(lm, ["The box is"], rule) == texts(hf, ["The box is"], rule)


def test_an_option_longer_than_the_context_window_is_refused(lm: Any) -> None:
    with pytest.raises(UserError) as told:
        scores(lm, [("The box", " is" * (POSITIONS + 1))])
    assert f"{POSITIONS + 1}" in told.value.found


def test_an_option_as_long_as_the_context_window_is_scored(folder: Path) -> None:
    lm, hf = ours(folder), theirs(folder)
    option = " is" * POSITIONS
    assert len(tokenizer().encode(option)) == POSITIONS
    asked = [("The box", option), ("", option)]
    assert_same_scores(scores(lm, asked), scores(hf, asked))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda f: f.joinpath("config.json").unlink(), id="no configuration"),
        pytest.param(
            lambda f: f.joinpath("config.json").write_text('{"model_type": "no_such_model"}'),
            id="unknown model type",
        ),
        pytest.param(lambda f: f.joinpath("config.json").write_text("{"), id="broken JSON"),
        pytest.param(lambda f: f.joinpath("model.safetensors").unlink(), id="no weights"),
        pytest.param(
            lambda f: f.joinpath("model.safetensors").write_bytes(b"\0" * 64), id="broken weights"
        ),
        pytest.param(lambda f: f.joinpath("tokenizer.json").unlink(), id="no tokenizer"),
    ],
)
def test_what_cannot_be_loaded_is_told(spoil: Any, tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    spoil(folder)
    with pytest.raises(UserError) as told:
        ours(folder)
    assert str(folder) in told.value.doing


@pytest.mark.parametrize("arguments", [{"dtype": "float17"}, {"no_such_argument": 3}])
def test_arguments_that_do_not_fit_are_told(arguments: dict[str, Any], folder: Path) -> None:
    with pytest.raises(UserError) as told:
        ours(folder, **arguments)
    assert "--model_args" in told.value.fix


# Many prompts


@pytest.mark.parametrize("n_characters", [1, 150, 10_000])
def test_prompts_too_many_to_plan_at_once_are_planned_in_parts(
    n_characters: int, folder: Path, lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scores(lm, PAIRS), texts(lm, PROMPTS, RULE)
    monkeypatch.setattr(prefix_sharing, "PORTION_CHARACTERS", n_characters)
    monkeypatch.setattr(prompt_encoder, "AT_A_TIME", 2)
    parts = ours(folder)
    assert_same_scores(scores(parts, PAIRS), expected[0])
    assert texts(parts, PROMPTS, RULE) == expected[1]


# What is recorded


def test_log_likelihoods_compute_each_distinct_token_once(folder: Path) -> None:
    lm = ours(folder)
    scores(lm, PAIRS)
    encoded = [tokenizer().encode(context + option) for context, option in PAIRS]
    # The last token of an option is asked for, and never asked from.
    computed = [as_tokens(ids[:-1]) for ids in encoded]
    told = lm.sharing
    assert told.naive_tokens == sum(map(len, computed))
    assert told.computed_tokens == told.distinct_tokens == build_trie(computed)[0].n_tokens
    assert told.as_json()["sharing_ratio"] == pytest.approx(
        told.naive_tokens / told.computed_tokens, abs=1e-3
    )
    assert told.naive_tokens > 3 * told.computed_tokens


def test_generations_count_what_was_generated(folder: Path) -> None:
    lm = ours(folder)
    prompts = [*PROMPTS, PROMPTS[0]]
    texts(lm, prompts, {"until": [], "max_gen_toks": 4})
    encoded = [as_tokens(tokenizer().encode(prompt)) for prompt in prompts]
    told = lm.sharing
    # Nothing is computed from a last token; equal prompts are continued once.
    assert told.naive_tokens == sum(len(tokens) + 3 for tokens in encoded)
    assert told.distinct_tokens == build_trie(encoded)[0].n_tokens + 3 * len(PROMPTS)
    assert told.computed_tokens == told.distinct_tokens


def test_seconds_are_counted_and_parts_are_within_the_whole(folder: Path) -> None:
    lm = ours(folder)
    scores(lm, PAIRS)
    texts(lm, PROMPTS, RULE)
    told = lm.sharing
    assert 0 < told.model_s < told.total_s
    assert 0 < told.tokenizing_s < told.total_s
    assert told.model_s + told.tokenizing_s <= told.total_s


def test_a_run_without_requests_has_no_ratio(folder: Path) -> None:
    lm = ours(folder)
    assert lm.loglikelihood([], disable_tqdm=True) == []
    assert lm.generate_until([], disable_tqdm=True) == []
    told = lm.get_model_info()["emo_hf"]
    assert told["sharing_ratio"] is None
    assert told["naive_tokens"] == 0
    json.dumps(told)


def test_progress_ends_where_it_was_expected_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_harness.lm_models import progress

    bars: list[Any] = []

    class Heard(progress.tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if not self.disable:
                bars.append(self)

    monkeypatch.setattr(progress, "tqdm", Heard)
    lm = ours(folder)
    arms = ("control", "ea01", "ea02")
    lm.loglikelihood(requests("loglikelihood", PAIRS, arms))
    lm.generate_until(requests("generate_until", [(p, dict(RULE)) for p in PROMPTS], arms))
    assert len(bars) == 2
    for bar, n_questions in zip(bars, (len(PAIRS) // 3, len(PROMPTS) // 3), strict=True):
        assert bar.n == bar.total > 0
        assert bar.desc.startswith(f"emo-hf: {n_questions} of {n_questions} questions")
