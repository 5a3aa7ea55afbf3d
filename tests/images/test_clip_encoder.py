"""Image encoders: open_clip's own vectors, from safetensors alone, without a network."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.images.clip_encoder import load_clip_encoder
from tests.images.image_sets import random_image
from tests.images.tiny_clip import CONTEXT, tiny_clip

open_clip = pytest.importorskip("open_clip")
WORDS = ["a picture of fear joy money"]
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny", WORDS)


def refused(name: str) -> UserError:
    with pytest.raises(UserError) as raised:
        load_clip_encoder(name, "cpu")
    return raised.value


def test_vectors_are_open_clips(folder: Path) -> None:
    import torch

    encoder = load_clip_encoder(f"local-dir:{folder}", "cpu")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    images = [random_image(n, side) for n, side in enumerate((24, 64, 33))]
    texts = ["a picture of fear", "joy"]
    model.eval()
    with torch.no_grad():
        batch = torch.stack([transform(image) for image in images])
        theirs = model.encode_image(batch, normalize=True)
        their_texts = model.encode_text(tokenizer(texts), normalize=True)
    found = encoder.image_vectors([encoder.prepare(image) for image in images])
    assert found == pytest.approx(theirs.numpy(), abs=1e-6)
    assert encoder.text_vectors(texts) == pytest.approx(their_texts.numpy(), abs=1e-6)
    assert encoder.scale == pytest.approx(model.logit_scale.exp().item())
    assert encoder.name == "tiny" and str(encoder.identity).startswith("files ")


def test_a_local_folder_needs_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked for a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_clip_encoder(f"local-dir:{folder}", "cpu").context_tokens == CONTEXT


def test_what_was_cut_and_what_is_unknown_is_told(folder: Path) -> None:
    encoder = load_clip_encoder(f"local-dir:{folder}", "cpu")
    fits, longer = " ".join(["a"] * (CONTEXT - 2)), " ".join(["a"] * (CONTEXT - 1))
    assert encoder.n_cut([fits, longer, "a"]) == 1 and encoder.n_cut([]) == 0
    assert encoder.unknown(["a picture of fear", "a picture of fog"]) == ["a picture of fog"]


def test_a_text_that_is_not_read_at_its_end_is_refused(tmp_path: Path) -> None:
    place = tiny_clip(tmp_path, WORDS, end_is_highest=False)
    error = refused(f"local-dir:{place}")
    assert "not their end" in error.found and "highest token id" in error.expected


def test_another_pooling_reads_the_end_whatever_its_id(tmp_path: Path) -> None:
    # In this vocabulary the end of a text has id 2.
    text = {"pool_type": "eos", "eos_id": 2}
    place = tiny_clip(tmp_path, WORDS, end_is_highest=False, text=text)
    assert load_clip_encoder(f"local-dir:{place}", "cpu").unknown(["joy"]) == []


def without(name: str) -> Callable[[Path], None]:
    return lambda place: (place / name).unlink()


def as_pickle(place: Path) -> None:
    import torch

    (place / WEIGHTS).unlink()
    torch.save({}, place / "open_clip_pytorch_model.bin")


def cut_weights(place: Path) -> None:
    (place / WEIGHTS).write_bytes((place / WEIGHTS).read_bytes()[:2000])


def other_width(place: Path) -> None:
    told = json.loads((place / CONFIG).read_text())
    told["model_cfg"]["embed_dim"] = 24
    (place / CONFIG).write_text(json.dumps(told))


def unknown_key(place: Path) -> None:
    told = json.loads((place / CONFIG).read_text())
    told["model_cfg"]["vision_cfg"]["colour"] = "blue"
    (place / CONFIG).write_text(json.dumps(told))


def remote_code(place: Path) -> None:
    told = json.loads((place / CONFIG).read_text())
    told["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    (place / CONFIG).write_text(json.dumps(told))


def tower_of_the_hub(place: Path) -> None:
    told = json.loads((place / CONFIG).read_text())
    told["model_cfg"]["text_cfg"]["hf_model_name"] = "org/roberta"
    (place / CONFIG).write_text(json.dumps(told))


def nameless_tokenizer(place: Path) -> None:
    told = json.loads((place / CONFIG).read_text())
    told["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = ""
    (place / CONFIG).write_text(json.dumps(told))


def no_json(place: Path) -> None:
    (place / CONFIG).write_text("{")


def no_model(place: Path) -> None:
    (place / CONFIG).write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without(CONFIG), CONFIG),
        (without(WEIGHTS), WEIGHTS),
        (without("tokenizer.json"), ""),
        (as_pickle, "pickle"),
        (cut_weights, "Safetensor"),
        (other_width, "size mismatch"),
        (unknown_key, "colour"),
        (remote_code, "trust_remote_code"),
        (tower_of_the_hub, "org/roberta"),
        (nameless_tokenizer, "hf_tokenizer_name"),
        (no_json, CONFIG),
        (no_model, "model_cfg"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    assert told in refused(f"local-dir:{tmp_path}").found


def test_a_pickle_is_never_opened(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    as_pickle(tmp_path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened a pickle"))
    refused(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ViT-B-33", "nearest"),
        ("ViT-B-32", "no weights"),
        ("ViT-B-32:laion", "nearest"),
        ("ViT-B-32-quickgelu:laion2b_s34b_b79k", "laion2b_s34b_b79k"),
        ("local-dir:/nowhere", "no folder"),
        ("hf-hub:org/none", ""),
        ("ViT-B-32:laion2b_s34b_b79k", ""),
    ],
)
def test_an_unknown_model_is_told_with_a_way_out(name: str, told: str) -> None:
    error = refused(name)
    assert told in error.found and error.fix


def test_a_folder_without_its_prefix_is_told(folder: Path) -> None:
    assert refused(str(folder)).fix == f"for a local folder say local-dir:{folder}"


def test_a_device_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(UserError, match="device"):
        load_clip_encoder(f"local-dir:{folder}", "cuda:99")


def test_without_the_extra_the_command_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert "emo-harness[images]" in refused(f"local-dir:{folder}").fix


def test_vectors_do_not_depend_on_the_batch(folder: Path) -> None:
    encoder = load_clip_encoder(f"local-dir:{folder}", "cpu")
    ready = [encoder.prepare(random_image(n)) for n in range(5)]
    alone = np.concatenate([encoder.image_vectors([one]) for one in ready])
    assert encoder.image_vectors(ready) == pytest.approx(alone, abs=1e-5)
