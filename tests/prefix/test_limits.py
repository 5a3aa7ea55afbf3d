"""Budgets are read, kept, and survived: memory that runs out loses no answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.errors import UserError
from emo_harness.prefix import (
    Costs,
    Limits,
    default_budget,
    despite_full_memory,
    in_words,
    limits_within,
    parse_bytes,
)
from emo_harness.prefix.limits import is_out_of_memory
from tests.prefix.tiny_models import PACKED, build

COSTS = Costs(
    cached_token=16_384,
    layer_token=1_024,
    packed_token=9_000,
    mask_cell=4,
    score_row=96,
    logits_row=384_000,
)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("2GiB", 2 * 1024**3),
        ("2gib", 2 * 1024**3),
        ("2Gi", 2 * 1024**3),
        ("500 MB", 500 * 10**6),
        ("500M", 500 * 10**6),
        (" 1.5 KiB ", 1536),
        ("1e9", 10**9),
        ("3e2k", 300_000),
        ("1TB", 10**12),
        ("4096", 4096),
        (4096, 4096),
        ("7b", 7),
    ],
)
def test_bytes_are_read_in_decimal_and_binary_units(text: str | int, n_bytes: int) -> None:
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize(
    "text",
    [
        *("", "lots", "GiB", "-1GiB", "0", 0, -5, "1.2.3G", "1 2", "1e", "2 PiB", "1e400", "nan"),
        *("inf", "1e19", "0.2", "2GiBs", None),
    ],
)
def test_what_is_no_size_is_refused_with_what_to_write(text: str | int) -> None:
    with pytest.raises(UserError) as told:
        parse_bytes(text)
    assert told.value.found == repr(text)
    assert "2GiB" in told.value.fix


@given(st.integers(1, 2**50))
def test_bytes_in_words_are_read_again_as_at_least_as_many(n_bytes: int) -> None:
    read = parse_bytes(in_words(n_bytes))
    assert n_bytes <= read <= 1.11 * n_bytes


def test_halving_ends_at_one_token_and_one_prompt() -> None:
    limits: Limits | None = Limits()
    seen = []
    while limits is not None:
        seen.append(limits)
        limits = limits.halved()
    last = seen[-1]
    assert (last.pass_tokens, last.tree_tokens, last.wanted, last.rows) == (1, 1, 1, 1)
    assert len(seen) == 11
    assert len({one.budget_bytes for one in seen}) == 1


@given(
    st.integers(10**6, 10**10),
    st.floats(1.0, 100.0),
    st.integers(1, 4000),
    st.sampled_from([0.5, 1.0]),
)
def test_limits_keep_the_budget_and_grow_with_it(
    budget: int, times: float, longest: int, share: float
) -> None:
    try:
        small = limits_within(budget, COSTS, longest, Limits(), share=share)
    except UserError:
        return
    large = limits_within(int(budget * times), COSTS, longest, Limits(), share=share)
    for limits, within in ((small, budget), (large, budget * times)):
        # A share is kept where there is a choice.
        taken = COSTS.of_pass(limits, longest)
        assert taken <= (within if limits == limits.smallest() else within * share)
    assert small.budget_bytes == budget
    for name in ("pass_tokens", "tree_tokens", "wanted", "rows"):
        assert getattr(small, name) <= getattr(large, name) <= getattr(Limits(), name)


@given(
    st.floats(1.0, 60.0),
    st.floats(0.0, 5.0),
    st.integers(1, 4000),
    st.sampled_from([0.5, 1.0]),
)
def test_whatever_lies_beside_the_smallest_pass_fits_with_it(
    times: float, heavier: float, longest: int, share: float
) -> None:
    least = COSTS.of_pass(Limits().smallest(), longest)
    beside = int(heavier * least)
    budget = int(times * (least + beside)) + 1
    limits = limits_within(budget, COSTS, longest, Limits(), share=share, beside=beside)
    assert COSTS.of_pass(limits, longest) + beside <= budget


@given(st.integers(1, 4000), st.sampled_from([0.5, 1.0]))
def test_the_memory_that_is_named_as_needed_is_enough(longest: int, share: float) -> None:
    with pytest.raises(UserError) as told:
        limits_within(1000, COSTS, longest, Limits(), share=share)
    needed = re.search(r"at least ([\d.]+ \w+)", told.value.expected)
    proposed = re.search(r"memory_budget=([\d.]+\w+)", told.value.fix)
    assert needed
    assert proposed
    for named in (needed[1], proposed[1]):
        limits_within(parse_bytes(named), COSTS, longest, Limits(), share=share)
    assert f"{longest:,} tokens" in told.value.expected


@pytest.mark.parametrize("kind", PACKED)
def test_costs_are_read_from_every_configuration(kind: str) -> None:
    model = build(kind)
    costs = Costs.of(model)
    with torch.no_grad():
        cache = model(torch.tensor([[3, 4, 5]]), use_cache=True).past_key_values
    kept = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert costs.cached_token * 3 == kept
    assert costs.logits_row >= 2 * 96 * 4
    halved = Costs.of(model.to(torch.bfloat16))
    assert halved.cached_token * 2 == costs.cached_token


def test_the_default_budget_grows_with_the_model_and_leaves_memory_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    device = torch.device("cpu")
    small, large = build("llama"), build("llama", vocab_size=20_000)
    assert 0 < default_budget(small, device) < default_budget(large, device)
    assert default_budget(large, device) < psutil.virtual_memory().total
    free = 10 * 1024**2
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert 0 < default_budget(small, device) < free


@dataclass(frozen=True)
class Answer:
    index: int
    text: str = ""


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("CUDA error: out of memory"),
    MemoryError("Unable to allocate 3 GiB for an array"),
]


@given(
    st.integers(0, 30), st.integers(0, 2**32 - 1), st.integers(0, 6), st.sampled_from(OUT_OF_MEMORY)
)
def test_every_question_is_answered_once_whenever_memory_runs_out(
    n_questions: int, seed: int, n_failures: int, error: Exception
) -> None:
    rng = np.random.default_rng(seed)
    left = n_failures
    asked_within: list[Limits] = []
    told: list[Limits] = []

    def answers_to(some: Sequence[int], limits: Limits) -> Iterator[Answer]:
        nonlocal left
        asked_within.append(limits)
        # Answers come in the order in which they become known.
        for place in rng.permutation(len(some)):
            if left and rng.random() < 0.3:
                left -= 1
                raise error
            yield Answer(int(place), f"answer to {some[place]}")

    found = list(despite_full_memory(answers_to, n_questions, Limits(), told.append))
    assert sorted(one.index for one in found) == list(range(n_questions))
    assert all(one.text == f"answer to {one.index}" for one in found)
    assert len(told) == n_failures - left
    assert [Limits(), *told][: len(asked_within)] == asked_within
    for before, after in zip([Limits(), *told], told, strict=False):
        assert after == before.halved()


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_that_never_suffices_is_told_as_the_users(error: Exception) -> None:
    def answers_to(some: Sequence[int], limits: Limits) -> Iterator[Answer]:
        raise error
        yield

    told: list[Limits] = []
    with pytest.raises(UserError, match="no memory left"):
        list(despite_full_memory(answers_to, 3, Limits(), told.append))
    assert told[-1].halved() is None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (7) must match the size of tensor b (10)"),
        ValueError("out of memory, says no allocator"),
        KeyError("layer"),
    ],
)
def test_other_errors_pass_through(error: Exception) -> None:
    def answers_to(some: Sequence[int], limits: Limits) -> Iterator[Answer]:
        yield Answer(0)
        raise error

    with pytest.raises(type(error)) as told:
        list(despite_full_memory(answers_to, 3, Limits(), lambda limits: None))
    assert told.value is error
    assert not is_out_of_memory(error)


def test_a_consumer_that_fails_is_not_taken_for_full_memory() -> None:
    def answers_to(some: Sequence[int], limits: Limits) -> Iterator[Answer]:
        yield from map(Answer, range(len(some)))

    halvings: list[Limits] = []
    answers = despite_full_memory(answers_to, 3, Limits(), halvings.append)
    assert next(answers).index == 0
    answers.close()
    assert halvings == []


def test_limits_have_no_field_that_halving_forgets() -> None:
    halved = Limits(budget_bytes=5).halved()
    assert halved is not None
    same = [f.name for f in fields(Limits) if getattr(halved, f.name) == getattr(Limits(), f.name)]
    assert same == []
    assert halved.budget_bytes == 5
