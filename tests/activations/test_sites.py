"""Sites: what is heard is what the model computes, and what is put there is what it goes on with.

Small random models of many architectures, each compared with its own plain run.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from emo_harness.activations.branches import deviation
from emo_harness.activations.sites import SITES, Layout, layout_of
from emo_harness.errors import UserError
from tests.activations.models import (
    ALL,
    WIDTHS,
    everything,
    known,
    model_of,
    prompts,
    random_model,
)

Place = tuple[str, int]


def heard_in(layout: Layout, ids: torch.Tensor, **arguments: Any) -> dict[Place, torch.Tensor]:
    heard: dict[Place, torch.Tensor] = {}

    def hear(site: str, layer: int, tensor: torch.Tensor) -> None:
        heard[site, layer] = tensor.clone()

    with torch.no_grad(), layout.listening(everything(layout), hear):
        layout.model(ids, **arguments)
    return heard


def last_states(layout: Layout, ids: torch.Tensor) -> torch.Tensor:
    found = layout.forward(ids)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ALL)
def test_all_sites_of_all_layers_are_found(kind: str) -> None:
    layout = known(kind)
    refused = {"attn_out", "mlp_out"} if kind == "opt_post_norm" else set()
    assert set(layout.refused) == refused
    for site in set(SITES) - refused:
        assert layout.layers_of(site) == tuple(range(layout.n_layers))


@pytest.mark.parametrize("kind", ALL)
def test_keys_and_values_are_those_of_the_models_own_cache(kind: str) -> None:
    layout, ids = known(kind), prompts()
    heard = heard_in(layout, ids, use_cache=False)
    with torch.no_grad():
        own = layout.model(ids, use_cache=True).past_key_values
    for number, layer in enumerate(own.layers):
        kept = (layer.keys, layer.values)
        for site, tensor in zip(
            ("key", "value"), kept[:: -1 if layout.is_latent else 1], strict=True
        ):
            found = heard[site, number]
            assert found.shape[2] == ids.shape[1]
            assert found.shape[1::2] == layout.shape(site)
            # A layer with a window keeps the last tokens alone.
            assert torch.allclose(found[:, :, -tensor.shape[2] :], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_the_residual_stream_adds_up(kind: str) -> None:
    layout = known(kind)
    heard = heard_in(layout, prompts())
    for layer in range(layout.n_layers):
        before, after = heard["resid_pre", layer], heard["resid_post", layer]
        if layer:
            assert torch.equal(heard["resid_post", layer - 1], before)
        if "attn_out" not in layout.refused:
            parts = [heard["attn_out", layer], heard["mlp_out", layer]]
            assert deviation(before, parts, after, after.dtype) <= 1


@pytest.mark.parametrize("use_cache", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_putting_back_what_was_heard_changes_no_bit(kind: str, use_cache: bool) -> None:
    layout, ids = known(kind), prompts()
    with torch.no_grad():
        plain = layout.model(ids, use_cache=use_cache)
        with layout.listening(everything(layout), lambda site, layer, tensor: tensor.clone()):
            found = layout.model(ids, use_cache=use_cache)
    assert torch.equal(found.logits, plain.logits)
    assert type(found.past_key_values) is type(plain.past_key_values)


@pytest.mark.parametrize("kind", ALL)
def test_generation_under_a_zero_edit_is_generation(kind: str) -> None:
    layout = known(kind)
    settings = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 1}
    ids = prompts(1, 9)
    mask = torch.ones_like(ids)
    settings |= {"output_logits": True, "return_dict_in_generate": True}
    plain = layout.model.generate(ids, attention_mask=mask, **settings)
    with layout.listening(everything(layout), lambda s, n, tensor: tensor + 0) as heard:
        found = layout.model.generate(ids, attention_mask=mask, **settings)
    assert torch.equal(found.sequences, plain.sequences)
    assert torch.equal(torch.stack(found.logits), torch.stack(plain.logits))
    assert heard.passes == 6
    assert set(heard.calls.values()) == {6}


@pytest.mark.parametrize("kind", ALL)
def test_keys_and_values_that_were_put_in_are_what_is_cached(kind: str) -> None:
    layout, ids = known(kind), prompts()
    put: dict[Place, torch.Tensor] = {}

    def hear(site: str, layer: int, tensor: torch.Tensor) -> torch.Tensor:
        put[site, layer] = tensor + torch.randn_like(tensor)
        return put[site, layer]

    sites = {site: layout.layers_of(site) for site in ("key", "value")}
    with torch.no_grad(), layout.listening(sites, hear):
        found = layout.model(ids, use_cache=True)
    for number, layer in enumerate(found.past_key_values.layers):
        first, second = ("value", "key") if layout.is_latent else ("key", "value")
        for site, kept in ((first, layer.keys), (second, layer.values)):
            assert torch.equal(put[site, number][:, :, -kept.shape[2] :], kept)
    with torch.no_grad():
        assert not torch.allclose(found.logits, layout.model(ids).logits, atol=1e-4)


@pytest.mark.parametrize("site", ["attn_out", "mlp_out"])
@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "opt_post_norm"])
def test_a_branch_that_was_put_in_is_what_is_added(kind: str, site: str) -> None:
    layout = known(kind)
    layer = layout.n_layers - 1
    heard: dict[str, torch.Tensor] = {}
    edit = torch.randn(2, 11, layout.hidden_size, generator=torch.Generator().manual_seed(1))

    def hear(where: str, _: int, tensor: torch.Tensor) -> torch.Tensor | None:
        heard[where] = tensor.clone()
        if where != site:
            return None
        heard[where] = edit.clone()
        return edit.clone()

    places = {s: [layer] for s in ("attn_out", "mlp_out", "resid_pre", "resid_post")}
    with layout.listening(places, hear):
        layout.forward(prompts())
    parts = [heard["attn_out"], heard["mlp_out"]]
    # Dividing by a multiplier and multiplying again rounds once more.
    assert deviation(heard["resid_pre"], parts, heard["resid_post"], torch.float32) <= 2


@pytest.mark.parametrize("kind", ALL)
def test_a_residual_stream_that_was_put_in_goes_on(kind: str) -> None:
    layout, ids = known(kind), prompts()
    edit = torch.randn(2, 11, layout.hidden_size, generator=torch.Generator().manual_seed(1))
    found = []
    for site, layer in (("resid_post", 0), ("resid_pre", 1)):
        with layout.listening({site: [layer]}, lambda *heard: edit.clone()):
            found.append(last_states(layout, ids))
    assert torch.equal(*found)
    assert not torch.allclose(found[0], last_states(layout, ids), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "kind", ["llama", "gpt2", "bloom", "gemma2", "granite", "opt", "gpt_neox", "falcon_one_head"]
)
def test_sites_are_found_in_half_precision(kind: str, dtype: torch.dtype) -> None:
    layout = layout_of(model_of(kind).to(dtype))
    assert not layout.refused
    assert {site: layout.layers_of(site) for site in SITES} == dict.fromkeys(
        SITES, (0, 1, 2)[: layout.n_layers]
    )


def test_a_joint_latent_of_keys_and_values_is_what_value_means() -> None:
    layout = known("deepseek_v3")
    assert layout.is_latent
    assert layout.shape("value") == (1, 12)
    assert layout.shape("key") == (1, 8)


def _llava() -> Any:
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
    )
    text = transformers.LlamaConfig(**WIDTHS)
    config = transformers.LlavaConfig(
        text_config=text, vision_config=vision, image_token_id=95, image_token_index=95
    )
    return random_model("LlavaForConditionalGeneration", config)


def _qwen2_vl() -> Any:
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    config = transformers.Qwen2VLConfig(
        text_config={**WIDTHS, "rope_parameters": rope},
        vision_config={
            "depth": 3,
            "embed_dim": 16,
            "hidden_size": 32,
            "num_heads": 2,
            "patch_size": 4,
        },
        image_token_id=95,
    )
    return random_model("Qwen2VLForConditionalGeneration", config)


@pytest.mark.parametrize("make", [_llava, _qwen2_vl])
def test_the_language_half_of_a_model_with_images_is_found(make: Any) -> None:
    model = make()
    layout, ids = layout_of(model), prompts()
    assert layout.base is model.get_decoder()
    assert not layout.refused
    with torch.no_grad():
        plain = model(input_ids=ids).logits
        with layout.listening(everything(layout), lambda s, n, tensor: tensor.clone()) as heard:
            assert torch.equal(model(input_ids=ids).logits, plain)
    assert heard.passes == 1


def test_a_model_without_keys_has_a_residual_stream() -> None:
    config = transformers.MambaConfig(
        vocab_size=96, hidden_size=32, num_hidden_layers=2, state_size=4
    )
    layout = layout_of(random_model("MambaForCausalLM", config))
    assert layout.layers_of("resid_post") == (0, 1)
    for site in ("key", "value"):
        with pytest.raises(UserError, match="keeps keys and values"):
            layout.check({site: [0]})


def test_layers_without_keys_among_others_are_refused_alone() -> None:
    config = transformers.OlmoHybridConfig(
        **WIDTHS,
        layer_types=["linear_attention", "linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
    )
    layout = layout_of(random_model("OlmoHybridForCausalLM", config))
    assert layout.layers_of("value") == (2,)
    assert layout.layers_of("mlp_out") == (0, 1, 2)
    with pytest.raises(UserError, match="at layers 2 alone"):
        layout.listening({"value": [0]}, lambda *heard: None)


def test_branches_that_do_not_add_up_are_refused_and_said() -> None:
    layout = known("opt_post_norm")
    with pytest.raises(UserError, match="self_attn, fc2") as caught:
        layout.listening({"attn_out": [0]}, lambda *heard: None)
    assert "value, key, resid_pre, resid_post" in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "config", "found"),
    [
        (
            "T5ForConditionalGeneration",
            transformers.T5Config(vocab_size=96, d_model=32, d_ff=40, num_layers=2, num_heads=4),
            "encoder-decoder",
        ),
        ("BertLMHeadModel", transformers.BertConfig(**WIDTHS), "later tokens"),
    ],
)
def test_what_is_no_causal_language_model_is_refused(kind: str, config: Any, found: str) -> None:
    with pytest.raises(UserError, match=found):
        layout_of(random_model(kind, config))


def test_a_module_that_is_no_model_is_refused() -> None:
    with pytest.raises(UserError, match="none of transformers' models"):
        layout_of(torch.nn.Linear(2, 2))


def test_a_model_that_gives_no_numbers_is_refused() -> None:
    model = model_of("llama")
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        layout_of(model)


def test_a_site_or_layer_that_is_not_there_is_refused() -> None:
    layout = known("llama")
    with pytest.raises(UserError, match="no such site"):
        layout.layers_of("values")
    with pytest.raises(UserError, match="layers 0 to 1"):
        layout.shape("value", [2])


def test_a_model_is_left_in_the_mode_it_was_in() -> None:
    model = model_of("gpt2").train()
    layout_of(model)
    assert model.training
