"""Measures of a dose, on tiny models with a direction known to act."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.axes import Axis
from emo_harness.errors import UserError
from emo_harness.steer.dose_response import slopes
from emo_harness.steer.figure import dose_curves
from emo_harness.steer.lexicon import text_value
from emo_harness.steer.measures import Settings, kl_nats, log_odds, measure
from emo_harness.steer.prompts import SteeredPrompt
from emo_harness.steer.result import as_text, write_result
from emo_harness.steer.sampling import sample
from emo_harness.steer.summary import summarise
from emo_harness.steer.word_sets import FirstTokens, WordSets, first_tokens
from tests.lm_models.local_models import word_tokenizer
from tests.steer.steered_models import axis_for, loaded, plain, prompts

DOSES = (-1.0, 0.0, 1.0)
GOOD, BAD = [f"w{i}" for i in range(10, 16)], [f"w{i}" for i in range(20, 26)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return loaded(tmp_path_factory.mktemp("model"), words=word_tokenizer(60))


@pytest.fixture(scope="module")
def words(model: LoadedModel) -> FirstTokens:
    return first_tokens(WordSets(positive=GOOD, negative=BAD), model.tokenizer)


def classed(n_groups: int = 6) -> list[SteeredPrompt]:
    return [
        SteeredPrompt(f"w{group} w{group + 1} w{30 + pole}", pole, f"g{group}")
        for group in range(n_groups)
        for pole in (0, 1, -1)
    ]


def readout_axis(model: LoadedModel, words: FirstTokens) -> Axis:
    """The direction in which the head reads good against bad words, at the last layer."""
    head = model.model.get_output_embeddings().weight.detach()
    vector = head[list(words.positive)].mean(0) - head[list(words.negative)].mean(0)
    axis = axis_for(model.layout, "resid_post").only([model.layout.n_layers - 1])
    return replace(axis, vectors=(3 * vector[None] / vector.norm()).numpy())


def settings(axis: Axis, **changes: object) -> Settings:
    usual = Settings(
        axis,
        DOSES,
        "all",
        n_controls=3,
        n_continuations=2,
        max_tokens=4,
        n_samples=0,
        seed=0,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def measured(model: LoadedModel, words: FirstTokens) -> pd.DataFrame:
    axis = readout_axis(model, words)
    return measure(model, classed(), classed(), words, settings(axis), quiet=True)


def test_an_axis_that_the_head_reads_moves_odds_beyond_every_control(
    measured: pd.DataFrame,
) -> None:
    found = summarise(measured)
    assert found.axis.spearman == 1.0
    assert found.axis.slope.low > max(abs(one.slope.value) for one in found.controls)
    assert found.axis.anti_steered.value == 0
    assert "rise with every step of dose" in found.verdicts[0]
    assert "further than along controls" in found.verdicts[0]


def test_every_direction_has_every_measure_at_every_dose(measured: pd.DataFrame) -> None:
    counts = measured.groupby(["direction", "dose", "measure"]).size().unstack()
    assert len(counts) == 7 * len(DOSES)
    assert (counts["log_odds"] == 6).all() and (counts["kl_nats"] == 6).all()
    assert counts["log_probability"].nunique() == 1 and counts["log_probability"].iloc[0] > 30
    assert set(measured["kind"]) == {"axis", "random", "orthogonal"}


def test_nothing_happens_at_a_dose_of_zero(measured: pd.DataFrame) -> None:
    at_zero = measured[measured["dose"] == 0]
    assert (at_zero.loc[at_zero["measure"] == "kl_nats", "value"] == 0).all()
    for point in (one.curve[1] for one in summarise(measured).controls):
        assert point.change.value == 0 and point.perplexity_ratio == 1


def test_divergence_grows_on_both_sides(measured: pd.DataFrame) -> None:
    for one in (summarise(measured).axis, *summarise(measured).controls):
        assert one.curve[0].kl_nats > 0 and one.curve[2].kl_nats > 0


def test_the_test_is_the_difference_between_classes_and_not_what_both_share() -> None:
    """Continuations of both classes sink with dose; those of one class a little less."""
    rows = [
        {
            "measure": "log_probability",
            "direction": "valence",
            "kind": "axis",
            "dose": dose,
            "item": 2 * group + (pole > 0),
            "pole": pole,
            "cluster": f"g{group}",
            "value": -3 - dose + 0.1 * pole * dose + 0.01 * group * dose,
        }
        for group in range(8)
        for pole in (1, -1)
        for dose in DOSES
    ]
    rows += [
        {**row, "measure": measure_, "value": row["dose"]}
        for row in rows[:24]
        for measure_ in ("log_odds", "kl_nats")
    ]
    found = summarise(pd.DataFrame(rows)).axis
    assert found.interaction is not None and found.main_effect is not None
    assert found.interaction.value == pytest.approx(0.2)
    assert found.interaction.p < 1e-6
    assert found.main_effect.value == pytest.approx(-1 + 0.035)


def test_without_classes_there_is_no_test(model: LoadedModel, words: FirstTokens) -> None:
    own = [one for one in classed() if one.pole == 0]
    axis = readout_axis(model, words)
    found = summarise(measure(model, own, own, words, settings(axis), quiet=True))
    assert found.axis.interaction is None and "no test" in found.verdicts[1]
    assert math.isfinite(found.axis.curve[0].perplexity_ratio)


def test_new_continuations_have_the_lexicons_value(model: LoadedModel, words: FirstTokens) -> None:
    axis = readout_axis(model, words)
    lexicon = dict.fromkeys(GOOD, 1.0) | dict.fromkeys(BAD, -1.0)
    measured = measure(
        model,
        classed(),
        classed(),
        words,
        settings(replace(axis, vectors=5 * axis.vectors), n_samples=6),
        lexicon,
        quiet=True,
    )
    found = summarise(measured)
    values = [point.sample_value for point in found.axis.curve]
    assert values[0] < values[2] and found.axis.value_slope is not None
    assert found.axis.value_slope.low > 0
    sampled = measured[measured["measure"] == "sample_value"]
    assert set(sampled.loc[sampled["kind"] != "axis", "dose"]) == {-1.0, 1.0}


def test_equal_seeds_give_equal_measures(
    model: LoadedModel, words: FirstTokens, measured: pd.DataFrame
) -> None:
    again = measure(
        model, classed(), classed(), words, settings(readout_axis(model, words)), quiet=True
    )
    pd.testing.assert_frame_equal(again, measured)


def test_odds_and_divergence_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    p, q = (torch.from_numpy(rng.standard_normal((3, 9))).log_softmax(-1).float() for _ in range(2))
    sets = FirstTokens((1, 2), (5,), (), ())
    expected = (p[:, [1, 2]].exp().sum(1) / p[:, 5].exp()).log()
    assert log_odds(p, sets) == pytest.approx(expected.numpy(), rel=1e-5)
    assert kl_nats(p, q) == pytest.approx((p.exp() * (p - q)).sum(1).numpy(), abs=1e-5)
    assert kl_nats(p, p).tolist() == [0, 0, 0]
    # A token that has become impossible adds nothing: 0 log 0 = 0.
    gone = p.clone()
    gone[:, 0] = -torch.inf
    assert np.isfinite(kl_nats(gone.log_softmax(-1), q)).all()


def test_samples_follow_the_models_distribution() -> None:
    own = plain("llama")
    start = prompts((5,))[0]
    expected = own.next_log_probabilities([start])[0].exp().numpy()
    drawn = sample(own, [start], 3000, 1, end_token=None, seed=0)[0]
    shares = np.bincount([int(one[0]) for one in drawn], minlength=len(expected)) / 3000
    assert np.abs(shares - expected).max() < 0.03


def test_samples_do_not_depend_on_what_is_sampled_beside_them() -> None:
    own = plain("gpt2")
    starts = prompts((3, 8, 5))
    together = sample(own, starts, 3, 6, end_token=None, seed=1)
    alone = sample(own, starts[:1], 2, 6, end_token=None, seed=1)
    assert [one.tolist() for one in together[0][:2]] == [one.tolist() for one in alone[0]]


def test_samples_end_with_the_end_token_and_leave_settings_alone() -> None:
    own = plain("llama")
    own.model.generation_config.repetition_penalty = 50.0
    try:
        start = prompts((4,))
        free = sample(own, start, 50, 6, end_token=None, seed=0)[0]
        end = int(free[0][2])
        ended = sample(own, start, 50, 6, end_token=end, seed=0)[0]
        assert own.model.generation_config.repetition_penalty == 50.0
    finally:
        own.model.generation_config.repetition_penalty = 1.0
    assert all(end not in one for one in ended)
    expected = [one.tolist() for one in free]
    cut = [one[: one.index(end)] if end in one else one for one in expected]
    assert [one.tolist() for one in ended] == [one for one in cut if one]


def test_prompts_beyond_the_context_are_refused() -> None:
    own = plain("gpt2")
    with pytest.raises(UserError, match="200 tokens"):
        own.next_log_probabilities(prompts((200,)))


def test_texts_have_the_mean_value_of_their_known_words() -> None:
    lexicon = {"good": 1.0, "don't": -2.0}
    assert text_value("Good! good; unknown.", lexicon) == 1.0
    assert text_value("I don’t", lexicon) == -2.0
    assert math.isnan(text_value("nothing here", lexicon))
    with pytest.raises(ValueError):
        slopes([0.0], [[1.0]])


def test_results_are_whole_files_with_null_for_the_unknown(
    measured: pd.DataFrame, tmp_path: Path
) -> None:
    summary = summarise(measured)
    figure = dose_curves(summary, "title with <signs> & $dollars$")
    files = write_result(tmp_path / "out", "steer", summary.as_json(), measured, figure)
    assert [path.name for path in files] == ["steer.json", "steer.parquet", "steer.svg"]
    told = json.loads(files[0].read_text())
    assert told["schema"] == 1 and told["axis"]["value_slope"] is None
    assert told["axis"]["curve"][0]["sample_value"] is None
    assert pd.read_parquet(files[1]).equals(measured)
    assert figure == dose_curves(summary, "title with <signs> & $dollars$")
    assert "<svg" in figure and as_text({"a": float("nan")}).count("null") == 1
