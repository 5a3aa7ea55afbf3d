"""Zero-shot readings: against open_clip's own, against brute force, and their identities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emo_harness.images.zero_shot import (
    class_vectors,
    log_probabilities,
    mean_distance,
    nearer_to_high,
    own_log_odds,
    own_probability,
)
from tests.images.tiny_clip import tiny_clip

TEMPLATES = ("an image of {}", "{} shown")
PHRASES = {"fear": ["fear"], "joy": ["joy"], "money": ["money"]}


def units(rows: int, seed: int = 0, d: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_classes_are_open_clips_ensemble_of_prompts(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    from emo_harness.images.clip_encoder import load_clip_encoder

    folder = tiny_clip(tmp_path, ["an image of fear joy money shown"])
    encoder = load_clip_encoder(f"local-dir:{folder}", "cpu")
    found = class_vectors(encoder, PHRASES, TEMPLATES)
    theirs = open_clip.build_zero_shot_classifier(
        encoder.model, encoder.tokenizer, list(PHRASES), TEMPLATES
    )
    assert found == pytest.approx(theirs.numpy().T, abs=1e-6)


def test_phrases_of_a_class_count_alike_whatever_their_number() -> None:
    class Known:
        def text_vectors(self, texts: list[str]) -> np.ndarray:
            table = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 0.0]}
            return np.array([table[text] for text in texts], np.float32)

    found = class_vectors(Known(), {"one": ["a"], "two": ["b", "c"]}, ("{}",))
    assert found == pytest.approx(np.array([[1, 0], [0.5**0.5, 0.5**0.5]]))


@given(st.integers(2, 6), st.floats(0.1, 12), st.integers(0, 99))
def test_probabilities_and_odds_are_those_of_a_softmax(k: int, scale: float, seed: int) -> None:
    images, classes = units(5, seed), units(k, seed + 100)
    logits = scale * images @ classes.T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    log_p = log_probabilities(images, classes, scale)
    own = np.arange(5) % k
    mine = p[np.arange(5), own]
    assert np.exp(log_p) == pytest.approx(p)
    assert own_probability(log_p, own) == pytest.approx(mine)
    assert own_log_odds(log_p, own) == pytest.approx(np.log(mine) - np.log1p(-mine), abs=1e-6)


def test_odds_stay_finite_where_a_probability_rounds_to_one() -> None:
    images, classes = np.eye(3)[:1], np.eye(3)
    log_p = log_probabilities(images, classes, 100.0)
    assert own_probability(log_p, np.array([0]))[0] == 1.0
    assert own_log_odds(log_p, np.array([0]))[0] == pytest.approx(100 - np.log(2))
    assert own_log_odds(log_p, np.array([1]))[0] == pytest.approx(-100, abs=1e-6)


def test_one_class_and_no_class_are_unknown() -> None:
    log_p = log_probabilities(units(4), units(1), 10.0)
    assert np.isnan(own_log_odds(log_p, np.zeros(4, int))).all()
    log_p = log_probabilities(units(4), units(3), 10.0)
    own = np.array([-1, 0, -1, 2])
    assert np.isnan(own_log_odds(log_p, own)).tolist() == [True, False, True, False]
    assert np.isnan(own_probability(log_p, own)).tolist() == [True, False, True, False]


@given(arrays(np.float64, (6, 2), elements=st.floats(-1, 1)), st.floats(1, 50))
def test_ends_of_a_scale_are_a_softmax_of_two(images: np.ndarray, scale: float) -> None:
    poles = units(2, 5, d=2)
    log_p = log_probabilities(images, poles, scale)
    found = nearer_to_high(images, poles, scale)
    assert found == pytest.approx(np.exp(log_p[:, 0]) - np.exp(log_p[:, 1]), abs=1e-9)


@given(st.integers(2, 12), st.integers(0, 50))
def test_mean_distance_is_that_over_all_pairs(n: int, seed: int) -> None:
    vectors = units(n, seed)
    pairs = [1 - vectors[i] @ vectors[j] for i in range(n) for j in range(i)]
    assert mean_distance(vectors) == pytest.approx(np.mean(pairs))


def test_mean_distance_of_copies_is_zero_and_of_one_unknown() -> None:
    assert mean_distance(np.repeat(units(1), 4, axis=0)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(mean_distance(units(1)))
