"""The demo's text-to-image model: loads with diffusers, is what its card says, draws concepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.demo import clip_path, diffusion_path, diffusion_truth_path
from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS, caption_tokenizer
from emo_harness.demo.clip_truth import sha256
from emo_harness.demo.diffusion_card import card
from emo_harness.demo.diffusion_truth import (
    MEASURED_SEED,
    WEIGHTS,
    Asked,
    concept_words,
    generate,
    held_out_scenes,
    is_right,
    load_pipeline,
    read_diffusion_truth,
)
from emo_harness.demo.drawn_images import LARGE_ARRANGEMENTS, SIZE, concepts, pixels
from emo_harness.demo.train_autoencoder import (
    LATENT_CHANNELS,
    as_model_input,
    build_autoencoder,
    latents,
    standardise,
    training_images,
)
from emo_harness.demo.train_autoencoder import train as train_autoencoder
from emo_harness.demo.train_diffusion import LATENT_SIZE, Stage, build_scheduler, train
from emo_harness.images.clip_encoder import load_clip_encoder
from emo_harness.images.clip_files import WEIGHTS as CLIP_WEIGHTS
from emo_harness.resources import embedded_model
from tests.images.emoji_font import emoji_font

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("open_clip")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load_pipeline(diffusion_path())


def test_it_loads_offline_as_any_pipeline_and_is_small() -> None:
    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
        str(diffusion_path()), local_files_only=True
    )
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert {p.dtype for part in parts for p in part.parameters()} == {torch.float32}
    assert pipeline.safety_checker is None
    told = pipeline.scheduler.config
    assert (told.clip_sample, told.steps_offset, told.prediction_type) == (False, 1, "v_prediction")
    assert embedded_model("emo-demo-diffusion") == str(diffusion_path())
    files = [f for f in diffusion_path().rglob("*") if f.is_file()]
    assert not any("_name_or_path" in f.read_text("utf-8") for f in files if f.suffix == ".json")
    assert sum(f.stat().st_size for f in files) < 8.2e6
    assert {f.suffix for f in files} == {".json", ".safetensors", ".md"}


def test_card_and_figures_are_about_these_weights_and_agree() -> None:
    figures = read_diffusion_truth()
    assert figures["weights_sha256"] == {n: sha256(diffusion_path() / n) for n in WEIGHTS}
    assert figures["judge_sha256"] == sha256(clip_path() / CLIP_WEIGHTS)
    assert (diffusion_path() / "README.md").read_text("utf-8") == card(diffusion_path(), figures)
    for kind in ("scenes", "words"):
        of = figures[kind]
        assert set(of["concepts"]) == set(concepts())
        for key in ("right", "n"):
            assert sum(one[key] for one in of["concepts"].values()) == of["all"][key]
    assert diffusion_truth_path().stat().st_size < 100_000


def test_figures_say_what_was_promised() -> None:
    scenes = read_diffusion_truth()["scenes"]
    assert len(scenes["concepts"]) >= 8
    assert scenes["all"]["right"] / scenes["all"]["n"] >= 0.8
    assert scenes["all"]["n"] >= 200


def test_images_of_unseen_compositions_show_their_concepts(pipeline: Any) -> None:
    asked = held_out_scenes(1, MEASURED_SEED + 1)[:12]
    encoder = load_clip_encoder("emo-demo-clip", "cpu")
    assert is_right(encoder, asked, generate(pipeline, asked)).sum() >= 8


def test_an_image_depends_on_its_own_seed_and_not_on_its_batch(pipeline: Any) -> None:
    asked = [Asked("sadness", "a crying face in fog", seed) for seed in (1, 2, 3)]
    together = [np.asarray(one, int) for one in generate(pipeline, asked, steps=2)]
    alone = np.asarray(generate(pipeline, asked[1:2], steps=2)[0], int)
    assert together[0].shape == (SIZE, SIZE, 3)
    assert np.abs(together[1] - alone).max() <= 2
    assert np.abs(together[0] - together[1]).max() > 20


def test_prompts_are_of_held_out_compositions_and_the_same_every_time() -> None:
    asked = held_out_scenes(2, 5)
    assert asked == held_out_scenes(2, 5)
    assert [one.concept for one in asked] == [c for c in concepts() for _ in range(2)]
    trained = set(training_images(3000, 1, most=3))
    assert not any(p.is_held_out for p in trained)
    tokenizer = caption_tokenizer(1)
    for one in (*asked, *concept_words(2, 5)):
        assert len(tokenizer(one.prompt)["input_ids"]) <= CONTEXT_TOKENS


def test_the_schedule_ends_in_pure_noise() -> None:
    scheduler = build_scheduler()
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-6)
    scheduler.set_timesteps(12)
    assert int(scheduler.timesteps[0]) == scheduler.config.num_train_timesteps - 1


def test_standardised_latents_decode_to_the_same_images() -> None:
    torch.manual_seed(0)
    model = build_autoencoder()
    shown = torch.randint(0, 256, (8, SIZE, SIZE, 3), dtype=torch.uint8)
    before = latents(model, shown)
    with torch.no_grad():
        expected = model.decode(before).sample
        standardise(model, before)
        after = latents(model, shown)
        found = model.decode(after).sample
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        after.mean((0, 2, 3)), torch.zeros(LATENT_CHANNELS), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(after.std((0, 2, 3)), torch.ones(LATENT_CHANNELS), atol=1e-3, rtol=0)


def test_the_autoencoder_gives_images_back(pipeline: Any) -> None:
    emoji_font()
    shown = torch.from_numpy(
        pixels(training_images(16, 77, most=2, arrangements=LARGE_ARRANGEMENTS), seed=77)
    )
    encoded = latents(pipeline.vae, shown)
    assert encoded.shape[1:] == (LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    assert encoded.std() == pytest.approx(1, abs=0.2)
    with torch.no_grad():
        found = pipeline.vae.decode(encoded).sample
    # Peak signal to noise of images whose values span 2: 20 decibels are an error of 0.2.
    assert (found - as_model_input(shown)).square().mean().sqrt() < 0.2


def test_training_is_deterministic_and_its_folder_loads(tmp_path: Path) -> None:
    emoji_font()
    vae = tmp_path / "vae"
    train_autoencoder(vae, steps=1, images=8, seed=5)
    stages = [
        Stage(2, 2, 1e-3, 8, LARGE_ARRANGEMENTS, most=most, mixed_share=0.0) for most in (3, 2)
    ]
    losses = [train(tmp_path / name, vae, seed=5, stages=stages) for name in ("a", "b")]
    assert len(losses[0]) == 4
    assert losses[0] == losses[1]
    for name in WEIGHTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    found = generate(load_pipeline(tmp_path / "a"), [Asked("joy", "joy", 1)], steps=2)
    assert found[0].size == (SIZE, SIZE)
