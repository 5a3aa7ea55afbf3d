"""Geometry: word means, components, planes and likeness on made-up stores with a planted truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emo_harness.errors import UserError
from emo_harness.probe.components import block_components, exact_components, shares
from emo_harness.probe.corpus.norms import Norms
from emo_harness.probe.geometry.axis_cosines import axis_cosines
from emo_harness.probe.geometry.geometry import GeometryPlan, geometry, with_others
from emo_harness.probe.geometry.layer_curves import layer_curves, read_results, read_verdicts
from emo_harness.probe.geometry.plane import angle_between, held_out_plane
from emo_harness.probe.geometry.word_means import _summed, word_means
from emo_harness.report.geometry import GeometryNumbers
from tests.probe.made_words import (
    directions,
    made_axes,
    made_results,
    made_store,
    made_table,
    model_facts,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_word_means_are_the_plain_ones(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    means = word_means(store, "value")
    index = store.index
    x = store.read("value").reshape(store.n_rows, -1)
    plain = index.index[~index["negation"]]
    frame = index.loc[plain].assign(half=lambda t: t["template"].rank(method="dense") % 2)
    centred = x[plain] - np.stack(
        [x[plain][(frame["template"] == t).to_numpy()].mean(axis=0) for t in frame["template"]]
    )
    for i, word in enumerate(means.words):
        for half in (0, 1):
            rows = ((frame["word"] == word) & (frame["half"] == 1 - half)).to_numpy()
            expected = centred[rows].mean(axis=0)
            assert np.allclose(means.halves[half, i].ravel(), expected, atol=1e-4)


def test_a_word_in_two_lists_is_one_word_with_both_poles(tmp_path: Path) -> None:
    table = made_table(20, 4)
    table["arousal"] = table["arousal"].where(table["word"] != "word0")
    extra = table[table["word"] == "word0"].assign(list="other", prompt=lambda t: t["prompt"] + 500)
    extra["arousal"] = extra["arousal"].fillna(-1)
    extra["valence"] = None
    means = word_means(made_store(tmp_path, pd.concat([table, extra])), "value")
    place = means.words.index("word0")
    assert len(means.words) == 20
    assert means.poles("valence")[place] == 1 and means.poles("arousal")[place] == -1
    assert means.table["list"][place] == "made, other"


def test_block_components_are_the_exact_ones() -> None:
    x = (rng().normal(0, 1, (300, 20)) * np.geomspace(5, 0.1, 20)).astype(np.float32) + 3
    exact = exact_components(x, 5)
    found = block_components(lambda: np.array_split(x, 7), 5, rng())
    assert np.allclose(found.explained, exact.explained, rtol=1e-3)
    assert np.allclose(np.abs((found.directions * exact.directions).sum(axis=1)), 1, atol=1e-3)
    assert np.allclose(found.scores(x), exact.scores(x), atol=0.05)
    everything = exact_components(x, 20)
    assert everything.explained.sum() == pytest.approx(1)


def test_shares_lie_between_a_factor_without_and_one_with_all_bearing() -> None:
    level = np.repeat(np.arange(5), 20)
    scores = np.stack([level.astype(float), rng().normal(0, 1, 100)], axis=1)
    found = shares(scores, {"level": level, "unknown": np.where(level < 3, level, np.nan)})
    assert found["level"][0] == pytest.approx(1) and found["level"][1] < 0.2
    assert found["unknown"][0] == pytest.approx(1)


def test_the_held_out_plane_finds_what_was_planted_and_nothing_else(tmp_path: Path) -> None:
    planted = word_means(made_store(tmp_path / "a", made_table(60, 16)), "value")
    noise = word_means(made_store(tmp_path / "b", made_table(60, 16), signal=0), "value")
    for means, least, most in ((planted, 0.9, 1.0), (noise, 0.0, 0.6)):
        plane = held_out_plane(means, ("valence", "arousal"), rng())
        poles = np.stack([means.poles("valence"), means.poles("arousal")], axis=1)
        crossed = (poles != 0).all(axis=1)
        right = (np.sign(plane.points) == poles).all(axis=1)[crossed].mean()
        assert least <= right <= most


def test_a_held_out_word_does_not_move_its_own_axis(tmp_path: Path) -> None:
    means = word_means(made_store(tmp_path, made_table(40, 8)), "value")

    def first(factor: float) -> float:
        halves = means.halves.copy()
        halves[:, 0] *= factor
        # Folds of one word: the axis is that of all others.
        plane = held_out_plane(replace(means, halves=halves), ("valence",), rng(), 40)
        return float(plane.points[0, 0])

    assert first(-3) - first(0) == pytest.approx(-3 * (first(1) - first(0)), rel=1e-3)


def test_crossed_words_free_the_angle_of_the_lists_confounding(tmp_path: Path) -> None:
    table = made_table(80, 8)
    # Most low-arousal words are of high valence: the lists confound the two.
    drop = (table["valence"] == -1) & (table["arousal"] == -1)
    number = table["word"].str.removeprefix("word").astype(int)
    table = table[~drop | (number < 20)].reset_index(drop=True)
    table["prompt"] = np.arange(len(table))
    means = word_means(made_store(tmp_path, table, signal=8), "value", (1, 2))
    angles = {a.words: a for a in angle_between(means, ("valence", "arousal"), rng(), 200)}
    assert angles["all"].cosine < -0.15
    assert abs(angles["crossed"].cosine) < abs(angles["all"].cosine)
    assert angles["crossed"].low < 0 < angles["crossed"].high


def test_all_numbers_are_json_that_the_report_reads(tmp_path: Path) -> None:
    store = made_store(tmp_path / "a")
    other = made_store(tmp_path / "b", seed=4, name="other/model")
    norms = made_norms()
    plan = GeometryPlan(axes=tuple(made_axes()), norms=norms, others=(other,), n_templates=2)
    numbers = with_others(geometry(store, plan), layer_curves(made_results()))
    read = GeometryNumbers.model_validate(json.loads(json.dumps(numbers, allow_nan=False)))
    assert [p.how for p in read.planes] == ["fitted axes", "held-out words"]
    assert len(read.planes[0].points) == len(read.words) == 40
    assert {v.view for v in read.views} >= {"words", "prompts", "prompts-centred"}
    assert sum(v.view.startswith("template-") for v in read.views) == 2
    by_pair = {(p.one, p.other): p for p in read.likeness.pairs}
    assert (by_pair["made/model", "other/model"].low or 0) > 0
    again = geometry(store, plan)
    assert json.dumps(again["planes"]) == json.dumps(numbers["planes"])


def made_norms() -> dict[str, Norms]:
    table = made_table(40, 1)
    noise = rng().normal(0, 0.5, (2, 40))
    return {
        name: Norms(
            "made",
            "plain",
            name,
            dict(zip(table["word"], 5 + table[name].astype(float) + noise[i], strict=True)),
            (1, 9),
            (),
            "",
        )
        for i, name in enumerate(("valence", "arousal"))
    }


def test_no_p_value_in_sample_and_one_on_another_corpus(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    for sha, in_sample in (("made", True), ("another", False), (None, True)):
        axes = made_axes(corpus={"sha256": sha} if sha else None)
        plane = geometry(store, GeometryPlan(axes=tuple(axes), n_templates=0))["planes"][0]
        assert plane["in_sample"] is in_sample
        assert (plane["fits"][0]["quadrants"]["p"] is None) is in_sample
        assert plane["fits"][0]["quadrants"]["value"] > 0.9


def test_explained_variance_is_the_templates_until_it_is_centred(tmp_path: Path) -> None:
    views = {v["view"]: v for v in geometry(made_store(tmp_path), GeometryPlan())["views"]}
    assert max(views["prompts"]["factors"]["template"][:3]) > 0.9
    assert max(views["prompts-centred"]["factors"]["template"]) < 1e-6
    assert max(views["prompts-centred"]["factors"]["target valence"][:2]) > 0.2


def test_refuses_axes_of_another_model_and_other_stores(tmp_path: Path) -> None:
    store = made_store(tmp_path / "a", identity="content 1")
    for told in (model_facts(identity="content 2"), model_facts(n_layers=7)):
        axes = tuple(made_axes(model=told.model_dump()))
        with pytest.raises(UserError, match="axis of"):
            geometry(store, GeometryPlan(axes=axes))
    with pytest.raises(UserError, match="no site"):
        geometry(store, GeometryPlan(site="resid_post"))
    with pytest.raises(UserError, match="no layer 9"):
        geometry(store, GeometryPlan(layers=(9,)))
    table = made_table()
    table["word"] = table["word"] + "0000"
    strange = made_store(tmp_path / "b", table.assign(word=table["word"].str[:4] + "4"))
    with pytest.raises(UserError, match="words in common"):
        geometry(store, GeometryPlan(others=(strange,)))
    nothing = made_norms()["valence"]
    unknown = replace(nothing, values={"nobody": 1.0})
    with pytest.raises(UserError, match="none of the store's words"):
        geometry(store, GeometryPlan(norms={"valence": unknown}))


def test_refuses_stores_that_are_no_probing_corpus(tmp_path: Path) -> None:
    table = made_table()
    with pytest.raises(UserError, match="several rows per prompt"):
        geometry(made_store(tmp_path / "a", table.assign(prompt=0)), GeometryPlan())
    store = made_store(tmp_path / "b")
    store.index.drop(columns="template").to_parquet(store.folder / "index.parquet")
    del store.__dict__["index"]
    with pytest.raises(UserError, match="without template"):
        geometry(store, GeometryPlan())
    with pytest.raises(UserError, match="negated prompts alone"):
        geometry(made_store(tmp_path / "c", table.assign(negation=True)), GeometryPlan())


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        store = made_store(tmp_path, signal=float("inf"))
    with pytest.raises(UserError, match="finite"):
        geometry(store, GeometryPlan())


def test_cosines_of_values_stay_within_a_layer_those_of_the_stream_do_not() -> None:
    axes = made_axes()
    kinds = [one["kind"] for one in axis_cosines(axes)]
    assert kinds == ["whole", "layers"]
    stream = [replace(axis, site="resid_post") for axis in axes]
    across = axis_cosines([*stream, replace(stream[0], site="resid_pre")])[-1]
    assert across["kind"] == "across" and len(across["labels"]) == 9
    layer = axis_cosines(axes)[1]["cosines"][0]
    assert np.allclose(layer, 0, atol=1e-5) and directions().shape[1] == len(layer)


def test_layer_curves_take_the_method_by_a_fixed_order(tmp_path: Path) -> None:
    results = made_results()
    entries = layer_curves(results)
    assert [e["features"] for e in entries] == ["centred", "raw"]
    assert entries[0]["method"] == "ridge" and entries[0]["strictest"] == "E4"
    assert [p["layer"] for p in entries[0]["curves"]["E4"]] == [0, 1, 2, 3]
    assert np.array(entries[0]["heads"]["accuracy"]).shape == (4, 3)
    informative = {c["name"]: c["informative"] for c in entries[0]["controls"]}
    assert informative["shuffled labels"] and not informative["bag of words"]
    with pytest.raises(UserError, match="no results"):
        read_results(tmp_path)
    results.drop(columns="split").to_parquet(tmp_path / "results.parquet")
    with pytest.raises(UserError, match="no column split"):
        read_results(tmp_path)
    assert read_verdicts(tmp_path) == []


def test_levels_without_rows_sum_to_nothing() -> None:
    none = np.empty((0, 2, 3), np.float32)
    summed = _summed(np.empty(0, np.int64), none, 4)
    np.testing.assert_array_equal(summed, np.zeros((4, 2, 3)))
