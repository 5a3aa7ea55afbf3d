"""Integrated gradients: complete, exact where that is known, and told where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.attribution.baseline import (
    Baseline,
    mean_embedding,
    mean_of,
    special_ids,
    word_positions,
)
from emo_harness.attribution.gradients import INPUT, INTEGRATED, attribute_tokens
from emo_harness.attribution.integrated import integrated_gradients, tolerance
from emo_harness.attribution.target import Target, TargetBatch, batch_of
from emo_harness.errors import UserError
from tests.activations.models import ALL
from tests.attribution.models import BOS, Tokens, as_loaded, fresh, shared, targets
from tests.prefix.tiny_models import build

# A token that goes to another expert makes the log-probability jump, which no integral sees.
MIXTURES = ("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss")


def integrated(loaded: Any, asked: list[Target], **rest: Any) -> Any:
    return list(attribute_tokens(loaded, asked, [INTEGRATED], **rest))


def log_probability(model: Any, target: Target, embeddings: torch.Tensor) -> torch.Tensor:
    """(b,) by the model's own way to take embeddings, (b, n, width)."""
    n = len(target.prompt_ids)
    logits = model(inputs_embeds=embeddings).logits[:, n - 1 :].log_softmax(-1)
    return logits[:, range(len(target.answer_ids)), target.answer_ids].sum(-1)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in MIXTURES])
def test_contributions_add_up_to_what_the_baseline_lacks(kind: str) -> None:
    loaded, asked = shared(kind), targets()
    embedding, mean = loaded.layout.base.get_input_embeddings(), mean_embedding(loaded)
    found = integrated(loaded, asked)
    assert sum(one.converged for one in found) >= 3
    for target, one in zip(asked, found, strict=True):
        states = embedding(torch.from_numpy(target.input_ids))[None].detach()
        states[0, 1 : len(target.prompt_ids)] = torch.from_numpy(mean).float()
        with torch.no_grad():
            without = float(log_probability(loaded.model, target, states)[0])
        assert one.baseline_log_probability == pytest.approx(without, abs=1e-3)
        difference = one.log_probability - without
        delta = one.scores[INTEGRATED].sum() - difference
        assert one.delta == pytest.approx(delta, abs=2e-3)
        assert one.converged == (abs(one.delta) <= tolerance(difference))
        assert one.steps in (32, 64, 128, 256)
        assert one.converged or one.steps == 256


@pytest.mark.parametrize("kind", MIXTURES)
def test_jumps_are_flagged(kind: str) -> None:
    for one in integrated(shared(kind), targets()):
        difference = one.log_probability - one.baseline_log_probability
        assert one.converged == (abs(one.delta) <= tolerance(difference))


def test_tolerance_is_a_hundredth_and_at_least_a_thousandth_of_a_nat() -> None:
    assert tolerance(-2.0) == pytest.approx(0.02)
    assert tolerance(0.01) == 0.001


@pytest.mark.parametrize("batch_tokens", [30, 4096])
def test_captum_alone_finds_the_same(batch_tokens: int) -> None:
    from captum.attr import IntegratedGradients

    loaded, target = shared("llama"), targets((9, 2))[0]
    one = integrated(loaded, [target], batch_tokens=batch_tokens)[0]
    own = loaded.model.get_input_embeddings()(torch.from_numpy(target.input_ids))[None].detach()
    base = own.clone()
    base[0, 1 : len(target.prompt_ids)] = torch.from_numpy(mean_embedding(loaded)).float()
    theirs, delta = IntegratedGradients(
        lambda states: log_probability(loaded.model, target, states)
    ).attribute(own, base, n_steps=one.steps, return_convergence_delta=True)
    expected = theirs.sum(-1)[0, : len(target.prompt_ids)].detach()
    assert np.allclose(one.scores[INTEGRATED], expected, atol=1e-4)
    assert one.delta == pytest.approx(float(delta), abs=1e-4)


def test_many_small_steps_find_the_same() -> None:
    loaded, target = as_loaded(build("gpt2").double()), targets((7, 1))[0]
    one = integrated(loaded, [target])[0]
    n = len(target.prompt_ids)
    own = loaded.model.get_input_embeddings()(torch.from_numpy(target.input_ids)).detach()
    base = own.clone()
    base[1:n] = torch.from_numpy(mean_embedding(loaded))
    share = ((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)[:, None, None]
    path = (base + share * (own - base)).requires_grad_()
    slopes = torch.autograd.grad(log_probability(loaded.model, target, path).sum(), path)[0]
    expected = (slopes.mean(0) * (own - base)).sum(-1)[:n]
    assert np.allclose(one.scores[INTEGRATED], expected, atol=1e-5)


def test_a_prompt_that_is_its_own_baseline_contributes_nothing() -> None:
    loaded, asked = shared("llama"), targets()
    embedding = loaded.model.get_input_embeddings()

    def itself(index: int) -> Baseline:
        ids = asked[index].prompt_ids
        own = embedding(torch.from_numpy(ids)).detach().double().numpy()
        return Baseline(np.arange(len(ids)), own)

    for one in integrated(loaded, asked, baselines=itself):
        assert not one.scores[INTEGRATED].any()
        assert one.delta == pytest.approx(0, abs=1e-5)
        assert one.converged


def test_tokens_that_keep_their_embedding_contribute_nothing() -> None:
    loaded, asked = shared("gpt2"), targets((9, 1), (6, 2))
    places = np.array([3, 4, 5])
    placebo = mean_of(loaded, [20, 21, 22, 23])
    for one in integrated(loaded, asked, baselines=lambda _: Baseline(places, placebo)):
        assert set(np.flatnonzero(one.scores[INTEGRATED])) == set(places)
        assert one.converged


def test_special_tokens_keep_theirs_by_default() -> None:
    target = Target(np.array([BOS, 5, 6, 1, 7]), np.array([8]))
    assert word_positions(Tokens(), target).tolist() == [1, 2, 4]
    one = integrated(shared("llama"), [target])[0]
    assert set(np.flatnonzero(one.scores[INTEGRATED])) == {1, 2, 4}


def test_a_token_for_unknown_words_is_a_word_unless_it_has_another_use() -> None:
    class Unknown(Tokens):
        all_special_ids, unk_token_id = (0, 1, 2), 2

    class Shared(Tokens):
        all_special_ids, unk_token_id = (0, 1), 1

    assert special_ids(Unknown()) == {0, 1}
    assert special_ids(Shared()) == {0, 1}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_baseline_of_zeros_is_refused(kind: str) -> None:
    zeros = Baseline(np.array([1, 2]), np.zeros(32))
    with pytest.raises(UserError, match="embedding of zeros"):
        integrated(shared(kind), targets(), baselines=lambda _: zeros)
    one_zero = Baseline(np.array([1, 2]), np.stack([np.ones(32), np.zeros(32)]))
    with pytest.raises(UserError, match="embedding of zeros"):
        integrated(shared(kind), targets(), baselines=lambda _: one_zero)


def test_a_baseline_of_another_width_is_refused() -> None:
    narrow = Baseline(np.array([1, 2]), np.ones(16))
    with pytest.raises(UserError, match=r"shape \(16,\)"):
        integrated(shared("llama"), targets(), baselines=lambda _: narrow)
    with pytest.raises(UserError, match="no tokens"):
        mean_of(shared("llama"), [])


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "opt_post_norm"])
def test_the_mean_embedding_is_of_what_the_model_reads_for_tokens_it_knows(kind: str) -> None:
    loaded = fresh(kind)

    class Fewer(Tokens):
        def get_vocab(self) -> dict[str, int]:
            return {f"t{token}": token for token in range(80)}

    object.__setattr__(loaded, "tokenizer", Fewer())
    read = loaded.layout.base.get_input_embeddings()(torch.arange(80)).detach().double()
    assert np.allclose(mean_embedding(loaded), read.mean(0), atol=1e-6)


class Function:
    """Stands in for a model: any function of embeddings, with a book of what was computed."""

    wide = torch.float64

    def __init__(self, function: Any) -> None:
        self.function = function
        self.sizes: list[tuple[int, int]] = []
        self.rows: list[int] = []

    def log_probabilities(self, embeddings: torch.Tensor, *batch: torch.Tensor) -> torch.Tensor:
        asked = TargetBatch(*batch)
        self.sizes.append((len(embeddings), embeddings.shape[1]))
        self.rows.extend(asked.input_ids[:, 0].tolist())
        return self.function(embeddings, asked.input_ids)

    def value(self, embeddings: torch.Tensor, batch: TargetBatch) -> torch.Tensor:
        found: torch.Tensor = self.function(embeddings, batch.input_ids)
        return found

    @contextmanager
    def telling(self) -> Iterator[None]:
        yield


def integrate(function: Any, n_rows: int = 3, batch_tokens: int = 1000) -> tuple[Any, ...]:
    """Rows of 4 tokens whose first one says which row it is, 6 wide, from a common baseline."""
    rng = np.random.default_rng(0)
    asked = [Target(np.array([row, 9, 9, 9]), np.array([9])) for row in range(n_rows)]
    batch = batch_of(asked, torch.device("cpu"))
    ends = torch.from_numpy(rng.standard_normal((n_rows, 4, 6)))
    base = rng.standard_normal((4, 6))
    model = Function(function)
    found = integrated_gradients(
        model,  # type: ignore[arg-type]
        batch,
        ends,
        model.value(ends, batch),
        [Baseline(np.arange(4), base)] * n_rows,
        batch_tokens,
    )
    return found, ends, torch.from_numpy(base), model


def test_a_linear_model_has_gradient_x_input_less_the_baselines_part() -> None:
    weights = torch.from_numpy(np.random.default_rng(1).standard_normal((4, 6)))
    found, ends, base, _ = integrate(lambda states, _: (states * weights).sum((1, 2)))
    for row, one in enumerate(found):
        expected = (weights * ends[row]).sum(-1) - (weights * base).sum(-1)
        assert np.allclose(one.contributions, expected, atol=1e-6)
        assert one.converged
        assert one.steps == 32


def test_a_quadratic_model_is_integrated_exactly() -> None:
    found, ends, base, _ = integrate(lambda states, _: states.square().sum((1, 2)))
    for row, one in enumerate(found):
        expected = (ends[row].square() - base.square()).sum(-1)
        assert np.allclose(one.contributions, expected, atol=1e-5)


def _steep(states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Row 1 rises at once, row 2 jumps; the others are linear."""
    sums = states.sum((1, 2))
    rises = torch.tanh(20 * (sums - 3))
    jumps = sums + 5 * (sums > 3)
    return torch.where(ids[:, 0] == 1, rises, torch.where(ids[:, 0] == 2, jumps, sums))


def test_only_what_has_not_converged_goes_on_to_more_steps() -> None:
    found, _, _, model = integrate(_steep, n_rows=5)
    asked = np.bincount(model.rows, minlength=5)
    for row, one in enumerate(found):
        assert asked[row] == sum(n for n in (32, 64, 128, 256) if n <= one.steps)
        assert one.converged == (row != 2)
    assert found[1].steps > 32
    assert found[2].steps == 256
    assert abs(found[2].delta) > 1


@pytest.mark.parametrize("batch_tokens", [1, 50, 300, 1000])
def test_steps_are_computed_together_within_the_budget(batch_tokens: int) -> None:
    found, *_ = integrate(_steep, n_rows=5)
    again, _, _, model = integrate(_steep, n_rows=5, batch_tokens=batch_tokens)
    for one, other in zip(found, again, strict=True):
        assert np.allclose(one.contributions, other.contributions, atol=1e-12)
        assert one.steps == other.steps
    assert all(rows * n <= max(batch_tokens, 4) for rows, n in model.sizes)
    if batch_tokens == 1000:
        assert max(rows for rows, _ in model.sizes) > 100


def test_what_is_not_finite_is_not_integrated_on_and_on() -> None:
    found, _, _, model = integrate(
        lambda states, ids: states.sum((1, 2)) / (ids[:, 0] != 1).double()
    )
    assert [one.converged for one in found] == [True, False, True]
    assert found[1].steps == 32
    assert len(model.rows) == 3 * 32


def test_the_contribution_of_a_word_is_not_its_gradient_alone() -> None:
    one = next(attribute_tokens(shared("llama"), targets(), [INTEGRATED, INPUT]))
    assert not np.allclose(one.scores[INTEGRATED], one.scores[INPUT], atol=1e-2)
