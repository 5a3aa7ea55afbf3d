"""Loading: any local folder in Hugging Face format, or an error that says what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from emo_harness.activations.loading import load_language_model, tokenizer_id
from emo_harness.errors import UserError
from tests.activations.models import MORE, model_of, random_model
from tests.lm_models.local_models import saved, tokenizer, word_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", "llama")


def test_a_folder_is_loaded_with_its_facts(folder: Path) -> None:
    loaded = load_language_model(str(folder), device="cpu")
    facts = loaded.facts
    assert (facts.model_type, facts.dtype) == ("llama", "float32")
    assert (facts.n_layers, facts.hidden_size) == (2, 32)
    assert facts.vocabulary == len(loaded.tokenizer)
    assert facts.identity is not None
    assert facts.identity.startswith("content ")
    assert not loaded.model.training
    assert loaded.layout.layers_of("value") == (0, 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_computes_in_the_dtype_that_was_asked_for(folder: Path, dtype: Any) -> None:
    loaded = load_language_model(str(folder), dtype=dtype, device="cpu")
    assert loaded.facts.dtype == dtype
    assert loaded.model.dtype == getattr(torch, dtype)


def test_auto_is_the_dtype_of_the_weights(tmp_path: Path) -> None:
    model_of("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    word_tokenizer(40).save_pretrained(tmp_path)
    assert load_language_model(str(tmp_path), dtype="auto").facts.dtype == "bfloat16"


def test_identity_and_tokenizer_are_of_the_content_not_the_name(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    one = load_language_model(str(folder))
    other = load_language_model(str(tmp_path / "copy"))
    assert one.facts.identity == other.facts.identity
    assert one.tokenizer_id == other.tokenizer_id


def test_tokenizers_that_split_otherwise_differ() -> None:
    plain = tokenizer_id(tokenizer())
    assert tokenizer_id(tokenizer(adds_bos=True)) != plain
    assert tokenizer_id(word_tokenizer(40)) != plain


def test_using_a_tokenizer_does_not_change_what_it_is() -> None:
    used = word_tokenizer(40)
    before = tokenizer_id(used)
    used.pad_token = used.eos_token
    before_padding = tokenizer_id(used)
    used(["w1 w2", "w1"], padding=True, truncation=True, max_length=3)
    assert tokenizer_id(used) == before_padding
    assert tokenizer_id(word_tokenizer(40)) == before


def test_the_language_half_of_a_model_with_images_is_loaded(tmp_path: Path) -> None:
    import transformers

    text = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**text),
        vision_config=transformers.CLIPVisionConfig(**vision),
        image_token_id=95,
    )
    random_model("LlavaForConditionalGeneration", config).save_pretrained(tmp_path)
    word_tokenizer(40).save_pretrained(tmp_path)
    loaded = load_language_model(str(tmp_path))
    assert type(loaded.model).__name__ == "LlavaForConditionalGeneration"
    assert loaded.facts.model_type == "llava"
    assert (loaded.facts.n_layers, loaded.facts.hidden_size) == (2, 32)


@pytest.mark.parametrize("kind", ["deepseek_v3", "falcon_one_head"])
def test_models_that_cannot_be_packed_are_loaded(kind: str, tmp_path: Path) -> None:
    assert kind in MORE
    model_of(kind).save_pretrained(tmp_path)
    word_tokenizer(40).save_pretrained(tmp_path)
    assert load_language_model(str(tmp_path)).layout.layers_of("key") == (0, 1, 2)


def refusal(folder: Path | str, **kwargs: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load_language_model(str(folder), **kwargs)
    return caught.value


def test_a_name_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path / "nowhere", "nobody/nothing-of-this-name"):
        assert "no such folder" in refusal(name).found


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "without config.json (empty)" in refusal(tmp_path).found


def test_a_configuration_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "config.json" in str(refusal(folder))


def test_a_kind_of_model_that_nobody_knows_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "of-the-future"}))
    assert "of-the-future" in refusal(folder).found


def test_a_kind_of_model_without_language_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert "'vit'" in refusal(tmp_path).found


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "safetensors" in str(refusal(folder))


@pytest.mark.parametrize("kept", [0, 5, 0.5])
def test_damaged_weights_are_refused(folder: Path, kept: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    assert "cannot be read" in refusal(folder).found


def test_missing_weights_are_refused_instead_of_drawn_at_random(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    error = refusal(folder)
    assert "weights missing" in error.found
    assert "layers.2" in error.found


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    assert "cannot be read" in refusal(folder).found


def test_a_folder_without_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    assert "tokenizer" in refusal(folder).found


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    word_tokenizer(3000).save_pretrained(folder)
    assert "token ids up to 3001" in refusal(folder).found


def test_code_that_comes_with_a_model_is_not_run_unasked(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    own = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.M"},
    }
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "own.py").write_text("raise SystemExit('was run')")
    error = refusal(folder)
    assert "code of its own" in error.found
    assert "--trust-remote-code" in error.fix


def test_an_unknown_dtype_is_refused(folder: Path) -> None:
    assert "'int8'" in refusal(folder, dtype="int8").found


def test_an_unknown_device_is_refused(folder: Path) -> None:
    assert "no device 'abacus'" in refusal(folder, device="abacus").found


@pytest.mark.parametrize("name", ["emo-demo", "emo-feelings"])
def test_embedded_models_are_loaded_by_name(name: str) -> None:
    loaded = load_language_model(name, device="cpu")
    assert loaded.facts.name == name
    assert loaded.facts.identity is not None
