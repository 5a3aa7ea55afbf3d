"""The demo's CLIP: it loads with open_clip, is what its card says, and tells unseen images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_harness.demo import clip_path, clip_truth_path
from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS, caption_tokenizer
from emo_harness.demo.captions import facts, is_true, random_caption
from emo_harness.demo.clip_card import card
from emo_harness.demo.clip_truth import (
    MEASURED_SEED,
    draw_all,
    held_out_images,
    image_vectors,
    nearest_concept,
    read_clip_truth,
    sha256,
    shipped_accuracy,
)
from emo_harness.demo.drawn_images import SIZE, concepts
from emo_harness.demo.train_autoencoder import train as train_autoencoder
from emo_harness.demo.train_clip import (
    Stage,
    as_tokens,
    build_clip,
    distorted,
    draw_pool,
    train,
    training,
)
from emo_harness.images.clip_encoder import ClipEncoder, load_clip_encoder
from emo_harness.images.clip_files import WEIGHTS
from emo_harness.resources import embedded_model
from tests.images.emoji_font import emoji_font

open_clip = pytest.importorskip("open_clip")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return load_clip_encoder("emo-demo-clip", "cpu")


def test_it_loads_offline_with_open_clip_alone_and_is_small() -> None:
    name = f"local-dir:{clip_path()}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    tokenizer = open_clip.get_tokenizer(name)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert embedded_model("emo-demo-clip") == str(clip_path())
    tokens = tokenizer(["a photo of sadness", "a photo of joy"])
    assert tokens.shape == (2, CONTEXT_TOKENS)
    assert (tokens.max(1).values == model.vocab_size - 1).all()
    assert preprocess.transforms[0].size in (SIZE, (SIZE, SIZE), [SIZE])
    assert sum(f.stat().st_size for f in clip_path().iterdir()) < 4.3e6
    assert {f.suffix for f in clip_path().iterdir()} == {".json", ".safetensors", ".md"}


def test_a_text_is_read_at_its_end_whatever_comes_behind_it(encoder: ClipEncoder) -> None:
    vectors = encoder.text_vectors(["an image of joy", "an image of fear", "joy"])
    assert vectors[0] @ vectors[2] > vectors[1] @ vectors[2] + 0.2


def test_card_and_figures_are_about_these_weights_and_agree() -> None:
    figures = read_clip_truth()
    assert figures["weights_sha256"] == sha256(clip_path() / WEIGHTS)
    assert (clip_path() / "README.md").read_text("utf-8") == card(clip_path(), figures)
    assert set(figures["concepts"]) == set(concepts())
    for key in ("right", "n"):
        assert sum(of[key] for of in figures["concepts"].values()) == figures["accuracy"][key]
    assert clip_truth_path().stat().st_size < 100_000


def test_figures_say_what_was_promised() -> None:
    figures = read_clip_truth()
    shares = {name: of["right"] / of["n"] for name, of in figures["concepts"].items()}
    assert figures["accuracy"]["right"] / figures["accuracy"]["n"] > 0.88
    assert min(shares.values()) > 0.6
    assert figures["retrieval"]["right"] / figures["retrieval"]["n"] > 0.4


def test_it_tells_concepts_of_unseen_compositions_as_often_as_the_card_says(
    encoder: ClipEncoder,
) -> None:
    emoji_font()
    asked = held_out_images(4, MEASURED_SEED + 1)
    told = nearest_concept(encoder, image_vectors(encoder, draw_all(asked, MEASURED_SEED + 1)))
    right = np.mean(told == [concepts().index(p.concept) for p in asked])
    measured = read_clip_truth()["accuracy"]
    assert right > measured["right"] / measured["n"] - 0.12


def test_its_answers_on_the_shipped_set_are_those_of_the_card(encoder: ClipEncoder) -> None:
    fresh, stored = shipped_accuracy(encoder), read_clip_truth()["shipped"]
    for name, of in stored.items():
        assert fresh[name]["n"] == of["n"]
        assert abs(fresh[name]["right"] - of["right"]) <= 2


def test_a_meaningless_word_hardly_moves_a_text(encoder: ClipEncoder) -> None:
    plain, noisy, other = encoder.text_vectors(
        ["an image of money", "an image qwzx of money", "an image of anger"]
    )
    assert plain @ noisy > plain @ other + 0.3


def test_all_true_pairs_of_a_step_are_targets() -> None:
    emoji_font()
    pool = draw_pool(Stage(1, 1e-3, 48, 0.2, 1.0), None, seed=4)
    rng = np.random.default_rng(0)
    captions = [random_caption(p, rng) for p in pool.images]
    true = is_true(np.array([c.claims for c in captions]), pool.facts)
    assert true.diagonal().all()
    assert not any(p.is_held_out for p in pool.images)
    np.testing.assert_array_equal(pool.facts, [facts(p) for p in pool.images])


def test_distorted_images_stay_images() -> None:
    shown = torch.full((6, SIZE, SIZE, 3), 128, dtype=torch.uint8)
    found = distorted(shown, np.random.default_rng(0))
    assert found.shape == (6, 3, SIZE, SIZE)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found.mean((1, 2, 3)) - 0.5).abs().max() < 0.2


def test_training_is_deterministic_and_its_folder_loads(tmp_path: Path) -> None:
    emoji_font()
    vae = tmp_path / "vae"
    train_autoencoder(vae, steps=1, images=8, seed=5)
    stages = [Stage(1, 1e-3, 16, 0.2, 1.0, decoded_share=share) for share in (0.0, 0.5)]
    losses = [train(tmp_path / name, vae, seed=5, stages=stages) for name in ("a", "b")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == len(stages)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    configs = [
        (folder / "open_clip_config.json").read_text() for folder in (tmp_path / "a", clip_path())
    ]
    assert json.loads(configs[0]) == json.loads(configs[1])
    open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'a'}")


@pytest.mark.slow
def test_training_learns_within_a_minute() -> None:
    emoji_font()
    tokenizer = caption_tokenizer(1)
    torch.manual_seed(0)
    model = build_clip(len(tokenizer))
    stage = Stage(40, 2e-3, 512, 0.0, 1.0)
    pool = draw_pool(stage, None, seed=3)
    losses = list(training(model, tokenizer, stage, pool, seed=3))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    assert as_tokens(tokenizer, ["joy"]).shape == (1, CONTEXT_TOKENS)
