"""Gradients of an answer's log-probability, against the model's own and against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.gradients import (
    INPUT,
    INTEGRATED,
    NORM,
    TOKEN_METHODS,
    TokenAttribution,
    attribute_tokens,
)
from emo_harness.attribution.target import Target, batch_of, encode_targets, in_batches
from emo_harness.errors import UserError
from tests.activations.models import ALL
from tests.attribution.models import BOS, as_loaded, fresh, shared, targets
from tests.lm_models.local_models import requests, saved, theirs, tokenizer
from tests.prefix.tiny_models import build, plain_score

# Each reads its embeddings in a way of its own: scaled, normed, projected, with positions added.
SOME = ("llama", "gpt2", "gemma", "gemma3_text", "opt_post_norm", "bloom", "granite", "mpt")
# Their norms, rotations or softmax are, whatever the weights are.
IN_FLOAT32 = ("llama", "gemma", "gemma3_text", "granite", "bloom", "mpt")


def attributed(loaded: Any, asked: list[Target], *methods: str, **rest: Any) -> Any:
    return list(attribute_tokens(loaded, asked, methods, **rest))


@pytest.mark.parametrize("kind", ALL)
def test_what_is_attributed_is_the_models_own_log_probability(kind: str) -> None:
    asked = targets()
    for target, found in zip(asked, attributed(shared(kind), asked, INPUT), strict=True):
        plain, _ = plain_score(shared(kind).model, target.input_ids, target.answer_ids)
        assert found.log_probability == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("kind", SOME)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    model = build(kind).double()
    loaded = as_loaded(model)
    asked, target = AnswerModel(loaded), targets((6, 2))[0]
    embedding = loaded.layout.base.get_input_embeddings()
    own = embedding(torch.from_numpy(target.input_ids)).detach()
    found = attributed(loaded, [target], INPUT, NORM)[0]
    batch = batch_of([target], asked.device)

    def at(embeddings: torch.Tensor) -> float:
        return float(asked.value(embeddings[None], batch)[0])

    step, near = (2e-3, 5e-3) if kind in IN_FLOAT32 else (1e-6, 1e-5)
    slopes = torch.zeros_like(own)
    for place in np.ndindex(*own.shape):
        moved = torch.zeros_like(own)
        moved[place] = step
        slopes[place] = (at(own + moved) - at(own - moved)) / (2 * step)
    n = len(target.prompt_ids)
    assert np.allclose(found.scores[INPUT], (slopes * own).sum(-1)[:n], atol=near)
    assert np.allclose(found.scores[NORM], slopes.norm(dim=-1)[:n], atol=near)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom", "gemma2", "mistral_window"])
def test_neither_batches_nor_order_change_what_is_found(kind: str) -> None:
    asked = targets((9, 1), (12, 3), (3, 2), (12, 1), (7, 4))
    alone = attributed(shared(kind), asked, *TOKEN_METHODS, batch_tokens=1)
    for batch_tokens in (40, 10_000):
        backwards = attributed(shared(kind), asked[::-1], *TOKEN_METHODS, batch_tokens=batch_tokens)
        for one, other in zip(alone, backwards[::-1], strict=True):
            assert one.steps == other.steps
            assert other.log_probability == pytest.approx(one.log_probability, abs=1e-4)
            for method in TOKEN_METHODS:
                assert np.allclose(one.scores[method], other.scores[method], atol=1e-3), method


def test_batches_hold_no_more_tokens_than_they_may() -> None:
    asked = targets(*((n, 1) for n in (3, 9, 2, 30, 4, 4, 4, 4)))
    batches = list(in_batches(asked, 20))
    assert [i for rows in batches for i in range(len(asked))[rows]] == list(range(len(asked)))
    for rows in batches:
        some = [len(target.input_ids) for target in asked[rows]]
        assert len(some) == 1 or len(some) * max(some) <= 20


def test_results_stream_batch_by_batch() -> None:
    done: list[int] = []
    found = attribute_tokens(
        shared("llama"), targets(), [INPUT], batch_tokens=1, advance=done.append
    )
    assert not done
    next(found)
    assert done == [1]
    assert len(list(found)) == 3
    assert sum(done) == 4


def test_the_model_is_left_as_it_was_also_between_results_and_after_errors() -> None:
    loaded = fresh("gpt2")
    loaded.model.transformer.h[0].train()
    loaded.model.transformer.wpe.weight.requires_grad_(False)

    def state() -> Any:
        return (
            [weight.requires_grad for weight in loaded.model.parameters()],
            [module.training for module in loaded.model.modules()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules()],
            loaded.model.config._attn_implementation,
            torch.is_grad_enabled(),
        )

    before = state()
    for _ in attribute_tokens(loaded, targets(), TOKEN_METHODS, batch_tokens=1):
        assert state() == before
    broken = loaded.model.transformer.h[1].register_forward_hook(_fail)
    hooks_of_its_own = state()
    with pytest.raises(ZeroDivisionError):
        attributed(loaded, targets(), *TOKEN_METHODS)
    assert state() == hooks_of_its_own
    broken.remove()
    assert state() == before
    assert all(weight.grad is None for weight in loaded.model.parameters())


def _fail(*_: Any) -> None:
    raise ZeroDivisionError


def test_gradients_are_had_where_gradients_are_off() -> None:
    plain = attributed(shared("llama"), targets(), INPUT)
    with torch.no_grad():
        found = attributed(shared("llama"), targets(), INPUT)
    assert np.array_equal(plain[0].scores[INPUT], found[0].scores[INPUT])


class _Rounded(torch.nn.Module):
    """A layer whose input goes through 8-bit integers, as in quantised models."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        scale = 127 / states.abs().amax(-1, keepdim=True)
        return self.inner((states * scale).round().to(torch.int8).to(states.dtype) / scale)


@pytest.mark.parametrize("part", ["v_proj", "down_proj", "proj"])
def test_gradients_that_miss_what_is_rounded_are_refused(part: str) -> None:
    loaded = fresh("llama")
    for name, module in list(loaded.model.named_modules()):
        if isinstance(module, torch.nn.Linear) and part in name:
            loaded.model.set_submodule(name, _Rounded(module))
    with pytest.raises(UserError, match="not those of what the model computes"):
        attribute_tokens(loaded, targets(), [INPUT])


def test_a_model_cut_from_its_embeddings_is_refused() -> None:
    loaded = fresh("llama")
    loaded.layout.base.layers[0].register_forward_pre_hook(
        lambda _module, args: (args[0].detach(), *args[1:])
    )
    with pytest.raises(UserError, match="without a derivative"):
        attribute_tokens(loaded, targets(), [INPUT])


def test_a_model_that_reads_its_embeddings_elsewhere_is_refused() -> None:
    loaded = fresh("gpt2")
    base = loaded.layout.base
    base.wte.register_forward_pre_hook(lambda *_: None)
    table = base.wte
    base.get_input_embeddings = lambda: torch.nn.Embedding(*table.weight.shape)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="read 0 times"):
        attribute_tokens(loaded, targets(), [INPUT])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coarse_dtypes_give_nearly_the_same_in_float64(dtype: torch.dtype) -> None:
    exact = attributed(shared("llama"), targets((12, 1)), INPUT, NORM)[0]
    found = attributed(as_loaded(build("llama").to(dtype)), targets((12, 1)), INPUT, NORM)[0]
    for method in (INPUT, NORM):
        assert found.scores[method].dtype == np.float64
        assert np.corrcoef(found.scores[method], exact.scores[method])[0, 1] > 0.99


def test_gradients_that_overflow_are_told_and_are_no_numbers() -> None:
    loaded = as_loaded(build("llama").half())

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, states: torch.Tensor) -> torch.Tensor:
            return states.clone()

        @staticmethod
        def backward(_: Any, slopes: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return slopes * 1e9 if slopes.shape[1] > 13 else slopes

    loaded.layout.base.layers[0].register_forward_hook(
        lambda _module, _args, output: Steep.apply(output)
    )
    fine, found = attributed(
        loaded, targets((9, 1), (14, 1)), INPUT, NORM, INTEGRATED, batch_tokens=1
    )
    assert not fine.unknown
    for method in (INPUT, NORM, INTEGRATED):
        assert np.isnan(found.scores[method]).all()
        assert "float16" in found.unknown[method]
    assert found.converged is False
    assert np.isfinite(found.log_probability)


def test_targets_that_cannot_be_asked_are_refused_before_any_is() -> None:
    good = targets()[0]
    empty = np.zeros(0, np.int64)
    for bad, words in (
        (Target(good.prompt_ids, empty), "0 of an answer"),
        (Target(empty, good.answer_ids), "0 tokens of a prompt"),
        (Target(good.prompt_ids, np.array([96])), "token 96"),
        (Target(np.full(128, 5), np.array([5, 5])), "at most 128"),
    ):
        with pytest.raises(UserError, match="prompt 1") as told:
            attribute_tokens(shared("llama"), [good, bad], [INPUT])
        assert words in str(told.value)
    with pytest.raises(UserError, match="gradient-x-inputs"):
        attribute_tokens(shared("llama"), [good], ["gradient-x-inputs"])


def test_only_what_was_asked_for_is_there() -> None:
    found: TokenAttribution = attributed(shared("llama"), targets(), NORM)[0]
    assert set(found.scores) == {NORM}
    assert found.steps is found.delta is found.converged is None
    assert found.baseline_log_probability is None
    assert not attributed(shared("llama"), [], *TOKEN_METHODS)


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("add_bos_token", [None, True, False])
def test_pairs_are_encoded_as_lm_eval_encodes_them(
    adds_bos: bool, add_bos_token: bool | None, tmp_path: Any
) -> None:
    folder = saved(tmp_path, "llama", adds_bos=adds_bos)
    lm = theirs(folder, add_bos_token=add_bos_token)
    pairs = [
        ("Q: Is this true or false? A:", " True"),
        ("Your friend is sick.\nA: ", "False"),
        ("<s>The question is", " a box, a key"),
        ("naïve  \n", "café"),
        ("", "The key"),
        ("", "<s>The key"),
    ]
    found = encode_targets(lm.tokenizer, pairs, add_bos_token=add_bos_token)
    told: list[Any] = []
    lm._loglikelihood_tokens = lambda requests, **_: told.extend(requests) or [(0.0, True)]
    lm.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)
    for (_, before, after), target in zip(told, found, strict=True):
        assert target.prompt_ids.tolist() == list(before)
        assert target.answer_ids.tolist() == list(after)


def test_an_answer_without_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="at least one"):
        encode_targets(tokenizer(), [("The key", "")])


def test_inputs_are_all_tokens_but_the_last() -> None:
    target = Target(np.array([BOS, 5, 6]), np.array([7, 8]))
    assert target.input_ids.tolist() == [BOS, 5, 6, 7]
