"""What is computed packed gives plain logits; what would not is named before it is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from emo_harness.prefix import (
    PackedModel,
    attention_window,
    base_model,
    why_different,
    why_unsupported,
)
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.rows import RowsAttention
from emo_harness.prefix.support import MODEL_TYPES
from emo_harness.prefix.units import Unit
from tests.prefix.tiny_models import NOT_PACKED, PACKED, POSITIONS, build, packed


@pytest.mark.parametrize("kind", PACKED)
def test_supported_models_pass_their_self_check(kind: str) -> None:
    assert why_unsupported(build(kind)) is None
    assert why_different(packed(kind), POSITIONS) is None


def test_every_model_type_on_the_list_is_tested() -> None:
    assert {packed(kind).model.config.model_type for kind in PACKED} == MODEL_TYPES


@pytest.mark.parametrize("kind", NOT_PACKED)
def test_other_models_are_named_with_a_reason(kind: str) -> None:
    assert why_unsupported(build(kind))


@pytest.mark.parametrize(
    ("kind", "setting", "reason"),
    [
        ("llama", {"alibi": True}, "ALiBi"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic"}}, "rope 'dynamic'"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "rope 'longrope'"),
        ("llama", {"rope_parameters": {"full_attention": {"type": "dynamic"}}}, "'dynamic'"),
        ("llama", {"is_encoder_decoder": True}, "encoder"),
        ("gpt2", {"add_cross_attention": True}, "encoder"),
        ("llama", {"layer_types": ["full_attention", "chunked_attention"]}, "chunked_attention"),
        ("llama", {"layer_types": ["full_attention", "linear_attention"]}, "linear_attention"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "later tokens"),
        ("llama", {"is_causal": False}, "later tokens"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "caps"),
        ("gpt2", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn"),
        ("llama", {"model_type": "mamba"}, "'mamba'"),
    ],
)
def test_settings_that_would_give_wrong_numbers_are_named(
    kind: str, setting: dict[str, Any], reason: str
) -> None:
    model = build(kind)
    for name, value in setting.items():
        model.config.__dict__[name] = value
        if name == "model_type":
            type(model.config).model_type, before = value, type(model.config).model_type
    try:
        assert reason in (why_unsupported(model) or "")
    finally:
        if "model_type" in setting:
            type(model.config).model_type = before


def test_settings_of_older_files_are_understood() -> None:
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        rope_scaling={"type": "dynamic", "factor": 2.0},
    )
    assert "'dynamic'" in (why_unsupported(transformers.LlamaForCausalLM(config)) or "")


def test_a_class_outside_transformers_is_not_trusted() -> None:
    class TheirLlama(transformers.LlamaForCausalLM):
        """As `trust_remote_code` would bring along."""

    model = TheirLlama(build("llama").config)
    assert "TheirLlama is not transformers' own class" in (why_unsupported(model) or "")


def test_layers_on_several_devices_are_not_packed() -> None:
    model = build("llama")
    model.hf_device_map = {"model.layers.0": 0, "model.layers.1": 1}
    assert "several devices" in (why_unsupported(model) or "")
    model.hf_device_map = {"": "cpu"}
    assert why_unsupported(model) is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("LORA", None), ("IA3", None), ("PREFIX_TUNING", "PREFIX_TUNING"), ("OFT", "OFT")],
)
def test_only_adapters_that_treat_all_tokens_alike_are_packed(
    kind: str, reason: str | None
) -> None:
    model = build("llama")
    model.peft_config = {"default": SimpleNamespace(peft_type=kind)}
    found = why_unsupported(model)
    assert found is None if reason is None else reason in (found or "")


def test_an_adapter_that_begins_at_some_token_is_not_packed() -> None:
    model = build("llama")
    config = SimpleNamespace(peft_type="LORA", alora_invocation_tokens=[5, 6])
    model.peft_config = {"default": config}
    assert "LORA" in (why_unsupported(model) or "")


def test_an_adapters_wrapper_is_looked_through() -> None:
    class Wrapper:
        def __init__(self, model: Any) -> None:
            self.get_base_model = lambda: model

    model = build("llama")
    assert base_model(Wrapper(model)) is model
    assert base_model(model) is model
    assert why_unsupported(Wrapper(model)) is None


@pytest.mark.parametrize(
    ("kind", "changes", "window"),
    [
        ("llama", {}, None),
        ("mistral", {}, None),
        ("mistral", {"sliding_window": 20}, 20),
        ("phi3", {"sliding_window": 20}, 20),
        ("starcoder2", {"sliding_window": 20}, 20),
        ("gemma3_text", {"sliding_window": 20}, 20),
        ("gemma3_text", {"layer_types": ["full_attention"] * 2}, None),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 20}, None),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 0},
            20,
        ),
        (
            "qwen3",
            {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 2},
            None,
        ),
        (
            "smollm3",
            {"use_sliding_window": True, "sliding_window": 20, "no_rope_layers": [1, 0]},
            20,
        ),
    ],
)
def test_the_window_is_read_where_a_layer_has_one(
    kind: str, changes: dict[str, Any], window: int | None
) -> None:
    assert attention_window(build(kind, **changes)) == window


@pytest.mark.parametrize("kind", ["mistral", "phi3", "starcoder2", "gemma3_text", "qwen2"])
def test_up_to_its_window_a_model_sees_everything_and_beyond_it_does_not(kind: str) -> None:
    extra = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    narrow = build(kind, sliding_window=20, **extra)
    wide = build(kind, sliding_window=100, **extra)
    window = attention_window(narrow)
    assert window is not None
    tokens = np.random.default_rng(0).integers(2, 90, (1, window + 1))

    def logits(model: Any, n_tokens: int) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.from_numpy(tokens[:, :n_tokens])).logits

    torch.testing.assert_close(logits(narrow, window), logits(wide, window))
    assert not torch.allclose(logits(narrow, window + 1), logits(wide, window + 1), atol=1e-3)


def in_reading_order(unit: Unit) -> np.ndarray:
    return np.tri(len(unit), dtype=bool)


def in_packed_order(unit: Unit) -> np.ndarray:
    return unit.offset + np.arange(len(unit))


def without_path(
    self: PathCache, layer: int, offset: int, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    nothing = key.new_zeros((*key.shape[:2], offset, key.shape[3]))
    self.layers[layer] = (key, value)
    return torch.cat([nothing, key], dim=2), torch.cat([nothing, value], dim=2)


def no_padding(self: RowsAttention, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros((len(like), 1, 1, like.shape[-1]))


def forgetting(self: RowsAttention, held: Any, key: torch.Tensor, value: torch.Tensor) -> None:
    held.own_keys[:, :, self.n_own] = 0
    held.own_values[:, :, self.n_own] = 0


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        pytest.param(Unit, "visible", in_reading_order, id="a token sees its siblings"),
        pytest.param(
            Unit, "positions", property(in_packed_order), id="positions count packed tokens"
        ),
        pytest.param(PathCache, "written", without_path, id="the path is not seen"),
        pytest.param(RowsAttention, "_own_bias", no_padding, id="padding is seen"),
        pytest.param(RowsAttention, "_append", forgetting, id="a row forgets its last token"),
    ],
)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_self_check_finds_broken_attention(
    kind: str, owner: type, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    assert "logits differ from plain ones" in (why_different(packed(kind), POSITIONS) or "")


def test_the_self_check_finds_capped_scores() -> None:
    model = PackedModel(build("gemma2", layer_types=["full_attention"] * 2), torch.device("cpu"))
    assert "differ" in (why_different(model, POSITIONS) or "")


def test_the_self_check_finds_a_window_shorter_than_its_prompts() -> None:
    model = PackedModel(build("mistral", sliding_window=10), torch.device("cpu"))
    assert "differ" in (why_different(model, POSITIONS) or "")


def test_a_window_longer_than_its_prompts_passes_the_self_check() -> None:
    """Which is why the window is read from the configuration too."""
    model = PackedModel(build("mistral", sliding_window=45), torch.device("cpu"))
    assert why_different(model, POSITIONS) is None


def test_a_model_that_bypasses_our_attention_is_not_believed() -> None:
    model = PackedModel(build("llama"), torch.device("cpu"))
    first, second = model.model.model.layers[0].self_attn, model.model.model.layers[1].self_attn
    second.layer_idx = first.layer_idx
    with pytest.raises(RuntimeError, match="not once by each"):
        why_different(model, POSITIONS)


@pytest.mark.parametrize("max_length", [5, 7, 12, 40])
def test_the_self_check_fits_any_context_window(max_length: int) -> None:
    model = PackedModel(build("gpt2", n_positions=max_length), torch.device("cpu"))
    assert why_different(model, max_length) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", PACKED)
def test_the_self_check_forgives_rounding(kind: str, dtype: torch.dtype) -> None:
    model = PackedModel(build(kind).to(dtype), torch.device("cpu"))
    assert why_different(model, POSITIONS) is None
