"""The logit lens says at the last layer what the model says, whatever its architecture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from emo_harness.activations.loading import load_language_model
from emo_harness.activations.sites import layout_of
from emo_harness.decode import module_chain, top_tokens
from emo_harness.decode.decoders import decoders_of
from emo_harness.decode.lens import ResidualView, logit_lens
from emo_harness.decode.top_tokens import arg_max
from emo_harness.errors import UserError
from tests.activations.models import ALL, WIDTHS, known, model_of, prompts, random_model
from tests.decode.decoded_models import as_loaded, last_layer, loaded_kind, read
from tests.lm_models.local_models import saved
from tests.prefix.live_bytes import LiveBytes
from tests.prefix.tiny_models import VOCABULARY, build

# At these, values cannot be followed to what attention writes, and why.
WITHOUT_VALUES = {
    "opt_post_norm": "no sum of its input",
    "gpt_oss": "no module that is given the values",
    "deepseek_v3": "a joint latent",
}


@pytest.mark.parametrize("kind", ALL)
def test_at_the_last_layer_it_gives_the_models_own_logits(kind: str) -> None:
    loaded = loaded_kind(kind)
    vectors, own = last_layer(loaded.layout)
    last = loaded.layout.n_layers - 1
    lens = logit_lens(loaded)
    assert torch.allclose(lens.logits(torch.from_numpy(vectors), last), own, rtol=1e-5, atol=1e-5)
    assert np.array_equal(arg_max(lens, vectors, last), own.argmax(dim=-1).numpy())


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "cohere"])
def test_top_tokens_are_the_best_of_the_models_distribution(kind: str) -> None:
    loaded = loaded_kind(kind)
    vectors, own = last_layer(loaded.layout)
    found = logit_lens(loaded).top(vectors, loaded.layout.n_layers - 1, 5)
    best = own.sort(dim=-1, descending=True)
    assert np.array_equal(found.ids, best.indices[:, :5].numpy())
    np.testing.assert_allclose(found.logits, best.values[:, :5].numpy(), rtol=1e-5, atol=1e-5)
    shares = own.softmax(dim=-1).sort(dim=-1, descending=True).values[:, :5].numpy()
    np.testing.assert_allclose(found.probabilities, shares, rtol=1e-4)


def _norm_weights(model: Any) -> list[torch.nn.Parameter]:
    """Of the model's final norm, under any of the names it goes by."""
    names = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")
    found = [(n, p) for n, p in model.named_parameters() if p.dim() == 1 and n.endswith("weight")]
    return [p for n, p in found if n.split(".")[-2] in names and "layers." not in n]


@pytest.mark.parametrize("kind", [k for k in ALL if k not in ("olmo", "opt_post_norm")])
def test_the_final_norm_is_applied_once(kind: str) -> None:
    """Of a norm that is applied twice or never, one far larger coordinate gives other logits."""
    model = model_of(kind)
    (weight,) = _norm_weights(model)
    with torch.no_grad():
        weight[3] = 100.0
    layout = layout_of(model)
    vectors, own = last_layer(layout)
    lens = logit_lens(as_loaded(layout))
    states = torch.from_numpy(vectors)
    scale = float(own.abs().max())
    assert torch.allclose(lens.logits(states, layout.n_layers - 1), own, atol=1e-5 * scale)
    with torch.no_grad():
        never, twice = (lens.head(one) for one in (states, lens.norm(lens.norm(states))))
    for other in (never, twice):
        assert float((other - own).abs().max()) > 1e-2 * scale


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi", "gemma2"])
def test_tied_and_untied_heads(kind: str, tied: bool) -> None:
    layout = layout_of(build(kind, tie_word_embeddings=tied))
    vectors, own = last_layer(layout)
    found = logit_lens(as_loaded(layout)).logits(torch.from_numpy(vectors), layout.n_layers - 1)
    assert torch.allclose(found, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cap", [3.0, 30.0])
@pytest.mark.parametrize("size", [0.01, 1.0])
def test_a_soft_cap_is_found_where_logits_are_small_too(
    cap: float, size: float, dtype: torch.dtype
) -> None:
    model = build("gemma2", final_logit_softcapping=cap, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight.mul_(size)
    lens = logit_lens(as_loaded(layout_of(model.to(dtype))))
    assert (lens.head.factor, lens.head.cap) == (1.0, cap)


def test_factors_are_those_of_the_configuration() -> None:
    granite = logit_lens(loaded_kind("granite")).head
    cohere = logit_lens(loaded_kind("cohere")).head
    assert (granite.factor, granite.cap) == (0.5, None)
    assert (cohere.factor, cohere.cap) == (known("cohere").base.config.logit_scale, None)


def test_a_factor_that_no_configuration_names_is_found() -> None:
    model = build("llama")
    plain = model.lm_head.forward
    model.lm_head.forward = plain
    forward = model.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        found = forward(*args, **kwargs)
        found.logits = found.logits * 0.37
        return found

    model.forward = scaled
    assert logit_lens(as_loaded(layout_of(model))).head.factor == pytest.approx(0.37, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi", "gemma2", "granite", "opt", "bloom"])
def test_half_precision_models_are_decoded_in_float32(kind: str, dtype: torch.dtype) -> None:
    """As the same weights would decode in a model that computes in float32."""
    model = model_of(kind).to(dtype)
    layout, whole = layout_of(model), layout_of(model_of(kind).to(dtype).float())
    vectors, own = last_layer(layout)
    last = layout.n_layers - 1
    found = logit_lens(as_loaded(layout)).top(vectors, last, 4)
    expected = logit_lens(as_loaded(whole)).top(vectors, last, 4)
    assert np.array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    # Rounded logits tie: the one chosen is among the model's own best.
    at = torch.from_numpy(found.ids[:, :1])
    lost = own.max(dim=-1, keepdim=True).values - own.gather(1, at)
    assert float(lost.max()) <= 8 * torch.finfo(dtype).eps * float(own.abs().max())


@pytest.mark.parametrize("site", ["resid_pre", "attn_out", "mlp_out"])
def test_sites_of_the_residual_stream_are_read_as_they_are(site: str) -> None:
    loaded = loaded_kind("llama")
    vectors, _ = read(loaded.layout, site, 1, prompts())
    found = logit_lens(loaded, site).top(vectors, 1, 4)
    expected = logit_lens(loaded).top(vectors, 1, 4)
    assert np.array_equal(found.ids, expected.ids)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in WITHOUT_VALUES])
def test_values_mean_what_attention_writes_of_a_token_that_is_alone(kind: str) -> None:
    loaded = loaded_kind(kind)
    alone = prompts(9, 1)
    lenses = {site: logit_lens(loaded, site) for site in ("value", "attn_out")}
    for layer in range(loaded.layout.n_layers):
        found, expected = (
            lens.logits(torch.from_numpy(read(loaded.layout, site, layer, alone)[0]), layer)
            for site, lens in lenses.items()
        )
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("decoder", ["logit-lens", "nearest"])
@pytest.mark.parametrize("changes", [("gpt2", {}), ("llama", {"attention_bias": True})])
def test_a_difference_of_values_is_without_the_projections_bias(
    changes: tuple[str, dict[str, Any]], decoder: Any
) -> None:
    model = build(changes[0], **changes[1])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("c_proj.bias", "o_proj.bias")):
                weight.normal_(0, 10)
    loaded = as_loaded(layout_of(model))
    first, second = (read(loaded.layout, "value", 1, prompts(4, 1, seed))[0] for seed in (1, 2))
    written = ResidualView(loaded.layout, "value")
    apart = [written(torch.from_numpy(values), 1) for values in (first, second)]
    plain = decoders_of(loaded, decoder, "resid_post").of_vectors
    expected = plain.top((apart[0] - apart[1]).detach().numpy(), 1, 3)
    by_value = decoders_of(loaded, decoder, "value")
    found = by_value.of_differences.top(first - second, 1, 3)
    assert np.array_equal(found.ids, expected.ids)
    with_bias = by_value.of_vectors.top(first - second, 1, 3)
    assert not np.array_equal(with_bias.ids, expected.ids)


@pytest.mark.parametrize(("kind", "reason"), WITHOUT_VALUES.items())
def test_values_that_cannot_be_followed_are_refused(kind: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        logit_lens(loaded_kind(kind), "value")


def test_keys_are_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="never written to the residual stream"):
        logit_lens(loaded_kind("llama"), "key")


def test_an_unknown_site_is_refused() -> None:
    with pytest.raises(UserError, match="resid_post"):
        logit_lens(loaded_kind("llama"), "resid")


def test_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_kind("llama")
    vectors, _ = last_layer(loaded.layout)
    lens = logit_lens(loaded)
    whole = lens.top(vectors, 1, 6)
    monkeypatch.setattr(top_tokens, "BLOCK_BYTES", 4 * VOCABULARY * 3)
    parts = lens.top(vectors, 1, 6)
    assert np.array_equal(whole.ids, parts.ids)
    np.testing.assert_allclose(whole.probabilities, parts.probabilities, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_that_of_one_block_of_rows(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of vectors and layers."""
    vocabulary = 6000
    layout = layout_of(build("llama", vocab_size=vocabulary).to(dtype))
    lens = logit_lens(as_loaded(layout))
    block = 8 * 4 * vocabulary
    # Much smaller than the head's matrix, which in half precision is not copied as a whole.
    monkeypatch.setattr(module_chain, "PART_BYTES", 4 * layout.hidden_size * vocabulary // 10)
    monkeypatch.setattr(top_tokens, "BLOCK_BYTES", block)
    vectors = np.random.default_rng(0).standard_normal((400, layout.hidden_size), np.float32)
    with LiveBytes() as live:
        for layer in range(layout.n_layers):
            lens.top(vectors, layer, 3)
    assert block <= live.peak < 1.5 * block + module_chain.PART_BYTES


def test_the_check_takes_little_memory_too() -> None:
    """Logits of a hundred tokens: less than two blocks where the vocabulary is large."""
    vocabulary = 60_000
    layout = layout_of(build("gemma2", vocab_size=vocabulary))
    with LiveBytes() as live:
        logit_lens(as_loaded(layout))
    assert live.peak < 4 * vocabulary * 100
    assert 2 * top_tokens.BLOCK_BYTES > 4 * 256_000 * 100


def test_of_equal_scores_the_smaller_id_comes_first() -> None:
    layout = layout_of(build("llama"))
    with torch.no_grad():
        layout.model.lm_head.weight[40:].copy_(layout.model.lm_head.weight[7])
    vectors, _ = last_layer(layout)
    found = logit_lens(as_loaded(layout)).top(vectors, 1, VOCABULARY)
    for ids in found.ids:
        tied = [token for token in ids.tolist() if token == 7 or token >= 40]
        assert tied == sorted(tied)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(value: float) -> None:
    vectors = np.ones((3, 32), np.float32)
    vectors[1, 4] = value
    with pytest.raises(UserError, match="vector 1 of 3 is NaN or infinite"):
        logit_lens(loaded_kind("llama")).top(vectors, 0, 2)


@pytest.mark.parametrize(
    ("shape", "layer", "k", "told"),
    [
        ((2, 31), 0, 1, "of shape"),
        ((2, 4, 8), 0, 1, "of shape"),
        ((2, 32), 2, 1, "layers 0 to 1"),
        ((2, 32), 0, VOCABULARY + 1, "1 to 96"),
        ((2, 32), 0, 0, "1 to 96"),
    ],
)
def test_what_cannot_be_decoded_is_refused(
    shape: tuple[int, ...], layer: int, k: int, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        logit_lens(loaded_kind("llama")).top(np.ones(shape, np.float32), layer, k)


def test_no_vectors_have_no_tokens() -> None:
    found = logit_lens(loaded_kind("llama")).top(np.ones((0, 32), np.float32), 0, 4)
    assert found.ids.shape == found.logits.shape == (0, 4)


def test_a_model_without_a_language_head_is_refused() -> None:
    whole = build("llama")
    with pytest.raises(UserError, match="no logits"):
        logit_lens(as_loaded(layout_of(whole.model)))
    classifier = random_model("LlamaForSequenceClassification", whole.config)
    with pytest.raises(UserError, match="logits of shape"):
        logit_lens(as_loaded(layout_of(classifier)))


def test_a_checkpoint_without_its_head_is_refused(tmp_path: Any) -> None:
    folder = saved(tmp_path / "whole", "llama")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.model.save_pretrained(folder)
    with pytest.raises(UserError, match="lm_head"):
        load_language_model(str(folder), device="cpu")


def test_a_head_that_is_no_product_is_refused() -> None:
    model = build("llama")
    forward = model.forward

    def cubed(*args: Any, **kwargs: Any) -> Any:
        found = forward(*args, **kwargs)
        found.logits = found.logits**3
        return found

    model.forward = cubed
    with pytest.raises(UserError, match="not the model's own logits"):
        logit_lens(as_loaded(layout_of(model)))


def test_a_norm_that_is_no_module_is_refused() -> None:
    layout = layout_of(build("llama"))

    def shifted(module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state.roll(1, dims=-1)
        return output

    layout.base.register_forward_hook(shifted)
    with pytest.raises(UserError, match="final norm"):
        logit_lens(as_loaded(layout))


FURTHER: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no norm": ("OpenAIGPT", "LMHeadModel", {"n_embd": 32, "n_layer": 3, "n_head": 4}),
    "a transform before the head": ("ModernBertDecoder", "ForCausalLM", {}),
    "a soft cap of another name": ("RecurrentGemma", "ForCausalLM", {"lru_width": 32}),
    "a factor on what the head is given": (
        "MiniCPM3",
        "ForCausalLM",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 24,
            "kv_lora_rank": 12,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "head_dim": 8,
            "dim_model_base": 16,
        },
    ),
    "no attention": ("Mamba", "ForCausalLM", {}),
}


@pytest.mark.parametrize(("family", "head", "settings"), FURTHER.values(), ids=FURTHER)
def test_no_architecture_has_code_of_its_own(
    family: str, head: str, settings: dict[str, Any]
) -> None:
    config = getattr(transformers, f"{family}Config")(**(WIDTHS | settings))
    layout = layout_of(random_model(f"{family}{head}", config))
    vectors, own = last_layer(layout)
    found = logit_lens(as_loaded(layout)).logits(torch.from_numpy(vectors), layout.n_layers - 1)
    assert torch.allclose(found, own, rtol=1e-4, atol=1e-5)


def test_the_language_half_of_a_model_with_images_is_read() -> None:
    text = transformers.LlamaConfig(**WIDTHS)
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=3)
    layout = layout_of(random_model("LlavaForConditionalGeneration", config))
    vectors, own = last_layer(layout)
    found = logit_lens(as_loaded(layout)).logits(torch.from_numpy(vectors), layout.n_layers - 1)
    assert torch.allclose(found, own, rtol=1e-5, atol=1e-5)
