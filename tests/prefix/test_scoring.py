"""Packed log-probabilities are those of each prompt asked alone, in any company and any limits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_harness.prefix import (
    Continuation,
    Limits,
    NaNLogitsError,
    PackedModel,
    Score,
    build_trie,
    score,
)
from tests.prefix.sequences import SMALLEST, any_limits, as_tokens, branching, spread
from tests.prefix.tiny_models import PACKED, TIE, VOCABULARY, build, packed, plain_score

Asked = tuple[list[int], int]
TOLERANCE = 1e-4
LIMITS = {
    "default": Limits(),
    "seams everywhere": Limits(pass_tokens=7, tree_tokens=5, wanted=2),
    "one token at a time": SMALLEST,
}


def mixed(seed: int = 0) -> list[Asked]:
    """Sequences and how many of their last tokens are asked for; the last is never computed."""
    example, question, arm, other, short = (
        spread(n, seed * 5 + i, VOCABULARY) for i, n in enumerate((30, 11, 9, 14, 2))
    )
    common = example + question
    return [
        (common + arm + short, 2),
        (common + arm + other, 14),
        (common + arm, 9),
        (common, 40),
        (common + other + arm, 1),
        (common + other + [5], 15),
        (common + other + [6], 15),
        (common + other + [5], 1),
        (other, 13),
        (short, 1),
        (short, 1),
        ([3, *example], 30),
        (example[:20], 3),
    ]


def continuations(asked: list[Asked]) -> list[Continuation]:
    return [
        Continuation(as_tokens(tokens[:-1]), as_tokens(tokens[-n_targets:]))
        for tokens, n_targets in asked
    ]


def scores(model: PackedModel, asked: list[Asked], limits: Limits, **kwargs) -> list[Score]:
    """One score for every question, in the questions' order."""
    found = list(score(model, continuations(asked), limits, **kwargs))
    assert sorted(one.index for one in found) == list(range(len(asked)))
    return sorted(found, key=lambda one: one.index)


def assert_as_alone(model: PackedModel, asked: list[Asked], found: list[Score]) -> None:
    for (tokens, n_targets), one in zip(asked, found, strict=True):
        expected, lead = plain_score(model.model, tokens[:-1], tokens[-n_targets:])
        assert one.log_probability == pytest.approx(expected, abs=TOLERANCE, rel=0)
        assert abs(lead) < TIE or one.is_greedy == (lead > 0)


def with_greedy_ones(model: PackedModel, asked: list[Asked]) -> list[Asked]:
    """Half of the sequences changed to end in what the model would say."""
    with torch.no_grad():
        best = [
            int(model.model(torch.tensor([tokens[:-1]])).logits[0, -1].argmax())
            for tokens, _ in asked
        ]
    return [
        ([*tokens[:-1], token] if i % 2 else tokens, 1 if i % 4 == 1 else n)
        for i, ((tokens, n), token) in enumerate(zip(asked, best, strict=True))
    ]


@pytest.mark.parametrize("within", LIMITS)
@pytest.mark.parametrize("kind", PACKED)
def test_scores_are_those_of_prompts_asked_alone(kind: str, within: str) -> None:
    model = packed(kind)
    asked = with_greedy_ones(model, mixed())
    found = scores(model, asked, LIMITS[within])
    assert_as_alone(model, asked, found)
    assert {one.is_greedy for one in found} == {True, False}


request_sets = st.tuples(
    branching(vocabulary=VOCABULARY), st.lists(st.integers(1, 40), min_size=10, max_size=10)
).map(
    lambda drawn: [
        ([7, *tokens], min(n, len(tokens))) for tokens, n in zip(drawn[0], drawn[1], strict=False)
    ]
)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text"])
@settings(max_examples=20)
@given(asked=request_sets, limits=any_limits)
def test_any_request_set_in_any_limits_is_scored_as_alone(
    kind: str, asked: list[Asked], limits: Limits
) -> None:
    model = packed(kind)
    assert_as_alone(model, asked, scores(model, asked, limits))


@settings(max_examples=10)
@given(asked=request_sets, limits=any_limits)
def test_each_distinct_token_is_computed_once(asked: list[Asked], limits: Limits) -> None:
    computed: list[int] = []
    scores(packed("llama"), asked, limits, advance=computed.append)
    trie, _ = build_trie([one.tokens for one in continuations(asked)])
    assert sum(computed) == trie.n_tokens


@settings(max_examples=10)
@given(asked=request_sets, random=st.randoms(use_true_random=False))
def test_the_order_of_requests_does_not_matter(asked: list[Asked], random) -> None:
    model = packed("gpt_neox")
    order = random.sample(range(len(asked)), len(asked))
    found = scores(model, asked, Limits())
    again = scores(model, [asked[i] for i in order], Limits())
    assert [one.log_probability for one in again] == [found[i].log_probability for i in order]


def test_targets_may_reach_over_many_nodes() -> None:
    model = packed("llama")
    tokens = spread(60, 3, VOCABULARY)
    asked = [(tokens[:n], n - 1) for n in range(2, 61)]
    found = scores(model, asked, Limits(pass_tokens=16, tree_tokens=8, wanted=8))
    assert_as_alone(model, asked, found)


def test_a_single_request_is_scored_alone() -> None:
    model = packed("opt")
    asked: list[Asked] = [(spread(9, 0, VOCABULARY), 4)]
    assert_as_alone(model, asked, scores(model, asked, Limits()))


def test_requests_without_a_shared_token_are_scored() -> None:
    model = packed("llama")
    asked: list[Asked] = [([token, 5, token], 2) for token in range(VOCABULARY)]
    assert_as_alone(model, asked, scores(model, asked, Limits(pass_tokens=50, tree_tokens=20)))


def test_no_requests_have_no_scores() -> None:
    assert list(score(packed("llama"), [], Limits())) == []


def test_equal_requests_have_equal_scores() -> None:
    asked: list[Asked] = [(spread(12, 1, VOCABULARY), 3)] * 3
    found = scores(packed("phi"), asked, SMALLEST)
    assert len({(one.log_probability, one.is_greedy) for one in found}) == 1


def test_a_pass_within_limits_asks_for_no_more_logits_than_wanted() -> None:
    model = PackedModel(build("llama"), torch.device("cpu"))
    asked_for: list[int] = []
    plain = model.logits

    def listening(tokens, positions, wanted, attention):
        asked_for.append(len(wanted))
        return plain(tokens, positions, wanted, attention)

    model.logits = listening  # type: ignore[method-assign]
    scores(model, mixed(), Limits(pass_tokens=64, tree_tokens=8, wanted=8))
    assert max(asked_for) <= 8


def test_the_softmax_is_computed_in_the_wished_dtype() -> None:
    model = PackedModel(build("llama").to(torch.bfloat16), torch.device("cpu"))
    asked: list[Asked] = [(spread(20, 4, VOCABULARY), 10)]
    found = scores(model, asked, Limits(), softmax_dtype=torch.float64)[0]
    with torch.no_grad():
        logits = model.model(torch.tensor([asked[0][0][:-1]])).logits[0]
    targets = torch.tensor(asked[0][0][-10:])[:, None]
    expected = logits.log_softmax(-1, dtype=torch.float64)[-10:].gather(1, targets).sum()
    assert found.log_probability == pytest.approx(float(expected), rel=1e-2)


def test_the_model_is_left_as_it_was() -> None:
    model = PackedModel(build("gemma3_text"), torch.device("cpu"))
    before = copy.deepcopy(model.model.config.to_dict())
    logits = model.model(torch.tensor([[3, 4, 5]])).logits
    scores(model, mixed(), Limits())
    assert model.model.config.to_dict() == before
    assert model.model.config._attn_implementation == "sdpa"
    assert torch.equal(model.model(torch.tensor([[3, 4, 5]])).logits, logits)


def test_the_model_is_left_as_it_was_after_an_error() -> None:
    model = PackedModel(build("llama"), torch.device("cpu"))
    with pytest.raises(IndexError):
        scores(model, [([3, VOCABULARY + 5, 4], 1)], Limits())
    assert model.model.config._attn_implementation == "sdpa"


def test_nan_logits_are_told() -> None:
    poisoned = build("llama")
    with torch.no_grad():
        poisoned.get_input_embeddings().weight[9] = float("nan")
    model = PackedModel(poisoned, torch.device("cpu"))
    asked: list[Asked] = [([3, 4, 5], 1), ([3, 9, 5], 1)]
    with pytest.raises(NaNLogitsError, match="NaN"):
        list(score(model, continuations(asked), Limits()))


def test_an_impossible_token_has_probability_zero_and_is_no_error() -> None:
    model = PackedModel(build("llama"), torch.device("cpu"))
    with torch.no_grad():
        model.model.lm_head.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
        model.model.lm_head.bias[7] = float("-inf")
    found = scores(model, [([3, 4, 7], 1)], Limits())[0]
    assert found == Score(0, -np.inf, False)
