"""Attention rollout, against the product of matrices that it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.gradients import INPUT, ROLLOUT, attribute_tokens
from emo_harness.attribution.rollout import attention_rollout, eager_attention, rolled_out
from emo_harness.errors import UserError
from tests.activations.models import ALL, WIDTHS, random_model
from tests.attribution.models import as_loaded, fresh, shared, targets


@pytest.mark.parametrize("kind", ALL)
def test_shares_are_those_of_the_whole_product(kind: str) -> None:
    loaded, asked = shared(kind), targets()
    for target, one in zip(asked, attribute_tokens(loaded, asked, [ROLLOUT]), strict=True):
        n, n_prompt = len(target.input_ids), len(target.prompt_ids)
        with torch.no_grad(), eager_attention(loaded.model):
            told = loaded.model(
                torch.from_numpy(target.input_ids)[None], output_attentions=True
            ).attentions
        whole = np.eye(n)
        for layer in told:
            mixed = 0.5 * layer[0].mean(0).double().numpy() + 0.5 * np.eye(n)
            whole = (mixed / mixed.sum(1)[:, None]) @ whole
        expected = whole[n_prompt - 1 : n].mean(0)[:n_prompt]
        assert np.allclose(one.scores[ROLLOUT], expected, atol=1e-5)
        assert (one.scores[ROLLOUT] > 0).all()
        if len(target.answer_ids) == 1:
            assert one.scores[ROLLOUT].sum() == pytest.approx(1, abs=1e-6)
        else:
            assert one.scores[ROLLOUT].sum() < 1


def test_rows_sum_to_one_and_see_nothing_later() -> None:
    rng = np.random.default_rng(0)
    layers = []
    for _ in range(5):
        weights = np.tril(rng.random((7, 7)))
        layers.append(weights / weights.sum(1, keepdims=True))
    # A head that attends to a sink beside the tokens has less than one to share out.
    layers[2] *= 0.7
    rows = rolled_out(layers, range(7))
    assert np.allclose(rows.sum(1), 1)
    assert np.allclose(rows, np.tril(rows))
    assert np.allclose(rolled_out(layers, [4]), rows[[4]])


def test_attention_to_itself_alone_stays_where_it_is() -> None:
    assert np.array_equal(rolled_out([np.eye(4)] * 3, range(4)), np.eye(4))


def test_attention_is_computed_as_before_afterwards_also_after_an_error() -> None:
    loaded = fresh("llama")
    kind = loaded.model.config._attn_implementation
    assert kind != "eager"
    with eager_attention(loaded.model):
        assert loaded.model.config._attn_implementation == "eager"
    assert loaded.model.config._attn_implementation == kind
    asked = AnswerModel(loaded)
    hook = loaded.layout.base.layers[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attention_rollout(asked, targets())
    hook.remove()
    assert loaded.model.config._attn_implementation == kind


def test_attention_that_sees_later_tokens_is_not_rolled_out() -> None:
    loaded = fresh("llama")
    attention = loaded.layout.base.layers[1].self_attn

    def spread(_module: Any, _args: Any, output: Any) -> Any:
        return None if output[1] is None else (output[0], torch.full_like(output[1], 0.1))

    attention.register_forward_hook(spread, prepend=True)
    for one in attribute_tokens(loaded, targets(), [ROLLOUT]):
        assert np.isnan(one.scores[ROLLOUT]).all()
        assert "sees later tokens" in one.unknown[ROLLOUT]


def _mamba() -> Any:
    config = transformers.MambaConfig(
        vocab_size=96, hidden_size=32, num_hidden_layers=2, state_size=4
    )
    return random_model("MambaForCausalLM", config)


def _hybrid() -> Any:
    config = transformers.OlmoHybridConfig(
        **WIDTHS,
        layer_types=["linear_attention", "linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
    )
    return random_model("OlmoHybridForCausalLM", config)


@pytest.mark.parametrize(
    ("make", "reason"), [(_mamba, "attention"), (_hybrid, "2 of its 3 layers have no attention")]
)
def test_models_without_attention_say_why_and_go_on(make: Any, reason: str) -> None:
    for one in attribute_tokens(as_loaded(make()), targets(), [ROLLOUT, INPUT]):
        assert np.isnan(one.scores[ROLLOUT]).all()
        assert reason in one.unknown[ROLLOUT]
        assert np.isfinite(one.scores[INPUT]).all()
        assert INPUT not in one.unknown


def test_rollout_needs_no_gradient() -> None:
    loaded = fresh("llama")
    loaded.layout.base.layers[0].register_forward_pre_hook(
        lambda _module, args: (args[0].detach(), *args[1:])
    )
    with pytest.raises(UserError, match="without a derivative"):
        attribute_tokens(loaded, targets(), [INPUT])
    assert all(not one.unknown for one in attribute_tokens(loaded, targets(), [ROLLOUT]))
