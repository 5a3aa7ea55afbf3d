"""Packed generation says what each prompt alone makes the model say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_harness.prefix import Limits, NaNLogitsError, PackedModel, Prompt, build_trie, generate
from tests.prefix.sequences import SMALLEST, any_limits, as_tokens, branching, spread
from tests.prefix.tiny_models import (
    PACKED,
    VOCABULARY,
    assert_same_tokens,
    build,
    packed,
    plain_continued,
    plain_logits,
)

N_TOKENS = 4
SEAMS = Limits(pass_tokens=7, tree_tokens=5, wanted=2, rows=3)


def mixed(seed: int = 0) -> list[list[int]]:
    example, question, arm, other, short = (
        spread(n, seed * 5 + i, VOCABULARY) for i, n in enumerate((30, 11, 9, 14, 2))
    )
    common = example + question
    return [
        common + arm + short,
        common + arm,
        common,
        common + other + arm,
        common + other + short,
        common + other + short,
        other,
        short,
        [3, *example],
        example[:20],
    ]


def never(generated: list[int]) -> bool:
    return False


def continued(
    model: PackedModel,
    prompts: list[list[int]],
    limits: Limits,
    n_tokens: int = N_TOKENS,
    is_complete: Callable[[list[int]], bool] = never,
) -> list[list[int]]:
    """What each prompt is continued with, in the prompts' order."""
    asked = [Prompt(as_tokens(tokens), n_tokens, is_complete) for tokens in prompts]
    found = list(generate(model, asked, limits))
    assert sorted(one.index for one in found) == list(range(len(prompts)))
    return [one.generated for one in sorted(found, key=lambda one: one.index)]


def assert_as_alone(
    model: PackedModel, prompts: list[list[int]], found: list[list[int]], n_tokens: int = N_TOKENS
) -> None:
    for prompt, one in zip(prompts, found, strict=True):
        assert len(one) == n_tokens
        expected = plain_continued(model.model, prompt, n_tokens)
        assert_same_tokens(model.model, prompt, one, expected)


@pytest.mark.parametrize("kind", PACKED)
def test_generations_are_those_of_prompts_asked_alone(kind: str) -> None:
    model = packed(kind)
    prompts = mixed()
    expected = [plain_continued(model.model, prompt, N_TOKENS) for prompt in prompts]
    for limits in (Limits(), SEAMS):
        found = continued(model, prompts, limits)
        for prompt, one, alone in zip(prompts, found, expected, strict=True):
            assert_same_tokens(model.model, prompt, one, alone)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma"])
def test_one_token_and_one_prompt_at_a_time_are_enough(kind: str) -> None:
    model = packed(kind)
    assert_as_alone(model, mixed(), continued(model, mixed(), SMALLEST))


@pytest.mark.parametrize("kind", ["llama", "opt", "gemma3_text"])
@settings(max_examples=12)
@given(prompts=branching(vocabulary=VOCABULARY), limits=any_limits)
def test_any_prompts_in_any_limits_are_continued_as_alone(
    kind: str, prompts: list[list[int]], limits: Limits
) -> None:
    model = packed(kind)
    assert_as_alone(model, prompts, continued(model, prompts, limits, 4), 4)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi", "gemma"])
def test_every_choice_is_made_from_plain_logits(kind: str) -> None:
    model = packed(kind)
    heard: list[tuple[list[int], torch.Tensor]] = []

    def listening(tokens: list[int]) -> Prompt:
        def pick(logits: torch.Tensor, generated: list[int]) -> int:
            heard.append(([*tokens, *generated], logits.clone()))
            return int(logits.argmax())

        return Prompt(as_tokens(tokens), N_TOKENS, never, pick)

    prompts = mixed()
    list(generate(model, [listening(p) for p in prompts], Limits(rows=4)))
    assert len(heard) == len(prompts) * N_TOKENS
    for sequence, logits in heard:
        assert logits.dtype == torch.float32
        expected = plain_logits(model.model, sequence)[-1]
        assert float((logits - expected).abs().max()) < 1e-4


def test_long_generations_outgrow_every_buffer_and_stay_right() -> None:
    model = packed("llama")
    prompts = [p[:20] for p in mixed()[:4]]
    assert_as_alone(model, prompts, continued(model, prompts, Limits(), 100), 100)


def test_rows_leave_when_complete_and_the_others_go_on_unmoved() -> None:
    model = packed("qwen2")
    prompts = mixed()
    n_tokens = 24
    whole = continued(model, prompts, Limits(), n_tokens)

    def is_complete(generated: list[int]) -> bool:
        # About one token in five ends a generation, so that rows leave at many steps.
        return generated[-1] % 5 == 0

    found = continued(model, prompts, Limits(), n_tokens, is_complete)
    for one, full in zip(found, whole, strict=True):
        n = next((i + 1 for i, token in enumerate(full) if token % 5 == 0), n_tokens)
        assert one == full[:n]
    assert len({len(one) for one in found}) > 2


def test_each_prompt_has_its_own_most_tokens() -> None:
    model = packed("llama")
    asked = [Prompt(as_tokens(t), n + 1, never) for n, t in enumerate(mixed())]
    found = {one.index: one.generated for one in generate(model, asked, Limits())}
    assert [len(found[i]) for i in range(len(asked))] == list(range(1, len(asked) + 1))
    full = continued(model, mixed(), Limits(), len(asked))
    assert all(found[i] == full[i][: i + 1] for i in found)


@settings(max_examples=10)
@given(prompts=branching(vocabulary=VOCABULARY), random=st.randoms(use_true_random=False))
def test_the_order_of_prompts_does_not_matter(prompts: list[list[int]], random) -> None:
    model = packed("llama")
    order = random.sample(range(len(prompts)), len(prompts))
    found = continued(model, prompts, Limits())
    assert continued(model, [prompts[i] for i in order], Limits()) == [found[i] for i in order]


def test_prefilling_and_steps_compute_each_token_once() -> None:
    model = packed("llama")
    prompts = mixed()
    computed: list[int] = []
    asked = [Prompt(as_tokens(tokens), N_TOKENS, never) for tokens in prompts]
    list(generate(model, asked, Limits(), advance=computed.append))
    trie, _ = build_trie([prompt.tokens for prompt in asked])
    assert sum(computed) == trie.n_tokens + len(prompts) * (N_TOKENS - 1)


def test_companies_that_share_a_beginning_compute_it_once() -> None:
    model = packed("llama")
    beginning = spread(60, 1, VOCABULARY)
    prompts = [beginning + spread(6, 2 + i, VOCABULARY) for i in range(12)]
    computed: list[int] = []
    asked = [Prompt(as_tokens(tokens), 1, never) for tokens in prompts]
    list(generate(model, asked, Limits(rows=3), advance=computed.append))
    trie, _ = build_trie([prompt.tokens for prompt in asked])
    assert sum(computed) <= trie.n_tokens + 4 * 6


def test_no_prompts_have_no_generations() -> None:
    assert continued(packed("llama"), [], Limits()) == []


def test_a_single_prompt_is_continued_alone() -> None:
    model = packed("gpt_neox")
    assert_as_alone(model, [[5]], continued(model, [[5]], Limits()))


def test_prompts_without_a_shared_token_are_continued() -> None:
    model = packed("llama")
    prompts = [[token, 4] for token in range(VOCABULARY)]
    assert_as_alone(model, prompts, continued(model, prompts, Limits(rows=30), 3), 3)


def test_nan_logits_are_told() -> None:
    poisoned = build("llama")
    with torch.no_grad():
        poisoned.get_input_embeddings().weight[9] = float("nan")
    model = PackedModel(poisoned, torch.device("cpu"))
    with pytest.raises(NaNLogitsError, match="NaN"):
        continued(model, [[3, 4, 5], [3, 9, 5], [8]], Limits())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma"])
def test_half_precision_stays_as_close_to_float32_as_plain_half_precision(
    kind: str, dtype: torch.dtype
) -> None:
    exact = build(kind)
    model = PackedModel(build(kind).to(dtype), torch.device("cpu"))
    heard: list[tuple[list[int], torch.Tensor]] = []

    def listening(tokens: list[int]) -> Prompt:
        def pick(logits: torch.Tensor, generated: list[int]) -> int:
            heard.append(([*tokens, *generated], logits.clone()))
            return int(logits.argmax())

        return Prompt(as_tokens(tokens), 3, never, pick)

    list(generate(model, [listening(p) for p in mixed()], Limits()))
    ours, plain = 0.0, 0.0
    for sequence, logits in heard:
        expected = plain_logits(exact, sequence)[-1]
        ours += float((logits - expected).square().mean())
        theirs = plain_logits(model.model, sequence)[-1].float()
        plain += float((theirs - expected).square().mean())
    assert ours < 1.5 * plain
