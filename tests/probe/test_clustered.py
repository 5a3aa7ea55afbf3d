"""Intervals that know what their units are."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.probe.clustered import Clusters


def grid(n_words: int, n_templates: int) -> Clusters:
    word, template = (a.ravel() for a in np.meshgrid(np.arange(n_words), np.arange(n_templates)))
    return Clusters(word, template, np.arange(len(word)))


@pytest.mark.parametrize(("share", "spread"), [(0.6, 0.8), (0.9, 0.8), (0.75, 0.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(share: float, spread: float) -> None:
    from scipy.special import expit, logit

    rng = np.random.default_rng(0)
    clusters = grid(24, 30)
    n_draws = 300
    tilt = logit(share)
    nodes = rng.standard_normal(20_000) * spread * 2**0.5
    truth = float(expit(tilt + nodes).mean())
    held = 0
    for _ in range(n_draws):
        words, templates = rng.standard_normal(24) * spread, rng.standard_normal(30) * spread
        chance = expit(tilt + words[clusters.word] + templates[clusters.template])
        right = (rng.random(len(chance)) < chance).astype(np.float32)
        (estimate,) = clusters.accuracies(right[None], np.ones_like(right))
        held += estimate.low <= truth <= estimate.high
    assert held / n_draws > 0.91
    assert held / n_draws < 0.995 or spread == 0


def test_repeats_of_a_prompt_are_no_new_evidence() -> None:
    clusters = grid(10, 12)
    rng = np.random.default_rng(1)
    right = (rng.random(120) < 0.7).astype(np.float32)
    (once,) = clusters.accuracies(right[None], np.ones(120, np.float32))
    (often,) = clusters.accuracies(5 * right[None], np.full(120, 5, np.float32))
    assert (once.low, once.high) == pytest.approx((often.low, often.high), abs=1e-6)


def test_an_interval_is_wider_where_words_differ_than_where_prompts_do() -> None:
    clusters = grid(20, 50)
    by_word = (clusters.word < 14).astype(np.float32)
    by_prompt = (np.random.default_rng(2).random(1000) < 0.7).astype(np.float32)
    words, prompts = clusters.accuracies(np.stack([by_word, by_prompt]), np.ones(1000, np.float32))
    assert words.high - words.low > 3 * (prompts.high - prompts.low)


def test_intervals_stay_between_0_and_1_and_keep_a_width_at_1() -> None:
    clusters = grid(15, 9)
    (estimate,) = clusters.accuracies(np.ones((1, 135), np.float32), np.ones(135, np.float32))
    assert estimate.mean == estimate.high == 1
    assert 0.5 < estimate.low < 0.95


def test_what_was_never_asked_is_unknown() -> None:
    (estimate,) = grid(5, 5).accuracies(np.zeros((1, 25), np.float32), np.zeros(25, np.float32))
    assert np.isnan([estimate.mean, estimate.low, estimate.high]).all()
    assert estimate.n_prompts == 0


def test_a_probe_does_not_differ_from_itself_and_pairs_help() -> None:
    clusters = grid(20, 20)
    rng = np.random.default_rng(3)
    hard = rng.random(20)[clusters.word]
    one = (rng.random(400) < hard).astype(np.float32)
    other = np.where(rng.random(400) < 0.05, 1 - one, one).astype(np.float32)
    asked = np.ones(400, np.float32)
    same = clusters.difference(one, one, asked)
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    paired = clusters.difference(one, other, asked)
    (alone,) = clusters.accuracies(one[None], asked)
    assert paired.high - paired.low < alone.high - alone.low
