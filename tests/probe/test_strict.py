"""The strict protocol finds what is there, and finds nothing where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from emo_harness.cli.layers import layers_of
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.probe.evaluation import COLUMNS
from emo_harness.probe.strict.all_dimensions import strict_evaluation
from emo_harness.probe.strict.centring import centring_weights, template_sums
from emo_harness.probe.strict.one_dimension import Strict, evaluate_strict
from emo_harness.probe.strict.rounds import draw_round
from emo_harness.probe.strict.splits import E1, E4, split_rows
from emo_harness.probe.strict.vectors import read_vectors
from emo_harness.probe.targets import read_targets
from tests.probe.made_store import made_activations, made_prompts, made_store

SEEDS = 4


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Strict:
    prompts = made_prompts(60, 40, n_neutral=6, n_shapes=20)
    values = made_activations(prompts, strength=3)
    store = made_store(tmp_path_factory.mktemp("planted"), prompts, values)
    return evaluate_strict(store, "valence", seeds=SEEDS)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Strict:
    """Word and negation are there, each by itself; nothing puts them together."""
    prompts = made_prompts(60, 40, n_shapes=20)
    values = made_activations(prompts, strength=0)
    store = made_store(tmp_path_factory.mktemp("empty"), prompts, values)
    return evaluate_strict(store, "valence", seeds=SEEDS)


def accuracy(found: Strict, **wanted) -> pd.DataFrame:
    frame = pd.DataFrame(found.results)
    wanted = {"subset": "all", "head": None, "kind": "probe", **wanted}
    for name, value in wanted.items():
        frame = frame[frame[name].isna() if value is None else frame[name] == value]
    return frame


@pytest.mark.parametrize("features", ["centred", "centred-neutral"])
@pytest.mark.parametrize("method", ["ridge", "lda", "mean-difference"])
def test_a_planted_composition_is_found_on_unseen_words_in_unseen_templates(
    planted: Strict, features: str, method: str
) -> None:
    (row,) = accuracy(
        planted, features=features, method=method, split="E4", layer=None
    ).itertuples()
    assert row.accuracy > 0.95
    assert row.low > 0.7


def test_it_is_found_in_the_layers_where_it_is_and_in_their_heads(planted: Strict) -> None:
    by_layer = accuracy(planted, features="centred", method="ridge", split="E4")
    by_layer = by_layer[by_layer["layer"].notna()].set_index("layer")["accuracy"]
    assert (by_layer[[2, 3]] > 0.9).all()
    assert (by_layer[[0, 1]] < 0.65).all()
    heads = [
        accuracy(planted, features="centred", method="ridge", split="E4", layer=layer, head=head)
        for layer in range(4)
        for head in range(2)
    ]
    assert all(len(one) == 1 for one in heads)
    assert max(float(one["accuracy"].iloc[0]) for one in heads[:4]) < 0.65
    assert max(float(one["accuracy"].iloc[0]) for one in heads[4:]) > 0.8


@pytest.mark.parametrize("part", ["E1", "E2", "E3", "E4"])
def test_where_nothing_is_composed_no_probe_is_above_chance(empty: Strict, part: str) -> None:
    pooled = accuracy(empty, split=part, layer=None)
    assert len(pooled) == 6
    assert (pooled["accuracy"] < 0.6).all()
    assert not any(
        one["better"]
        for one in empty.verdicts
        if one["split"] == part and one["subset"] == "all" and one["layer"] is None
    )


def test_within_prompts_of_one_kind_what_is_additive_is_enough(empty: Strict) -> None:
    for subset in ("negated", "not negated"):
        rows = accuracy(
            empty, subset=subset, method="ridge", features="centred", split="E4", layer=None
        )
        assert float(rows["accuracy"].iloc[0]) > 0.8


def test_centring_takes_out_what_hides_it(planted: Strict) -> None:
    raw, centred = (
        float(
            accuracy(planted, features=f, method="mean-difference", split="E4", layer=None)[
                "accuracy"
            ].iloc[0]
        )
        for f in ("raw", "centred")
    )
    assert centred > raw + 0.1


def test_shuffled_labels_are_at_chance(planted: Strict) -> None:
    rows = accuracy(planted, kind="control", method="shuffled labels", layer=None)
    assert len(rows) == 3 * 3 * 4
    # A mean difference of 50 words finds some of the axis by chance, in either direction.
    assert rows["accuracy"].between(0.25, 0.75).all()
    assert rows.loc[rows["of"] != "mean-difference", "accuracy"].between(0.4, 0.6).all()


def test_a_changed_test_word_changes_no_training_feature_and_no_other_row(tmp_path: Path) -> None:
    prompts = made_prompts(60, 40, n_shapes=20)
    values = made_activations(prompts)
    targets = read_targets(made_store(tmp_path / "a", prompts, values), "valence")
    split = split_rows(targets, 0)
    unseen = np.flatnonzero(~split.seen_words)
    changed = values.copy()
    own = prompts["word"].isin([targets.words[k] for k in unseen]).to_numpy()
    changed[own] += 100
    centred = []
    for folder, given in (("a", values), ("b", changed)):
        store = made_store(tmp_path / folder, prompts, given)
        again = read_targets(store, "valence")
        raw = store.read("value", rows=again.rows).reshape(len(again), -1)
        weights = centring_weights(again, split)[None]
        centres = template_sums(raw, again.template, weights, len(again.negates))[0]
        centred.append(raw - centres[again.template])
    same = ~np.isin(targets.word, unseen)
    assert (centred[0][same] == centred[1][same]).all()
    assert set(np.unique(split.part[~same])) == {E1, E4}


def test_held_out_rows_do_not_change_what_is_fitted(tmp_path: Path) -> None:
    prompts = made_prompts(60, 40, n_shapes=20)
    values = made_activations(prompts)
    first = made_store(tmp_path / "a", prompts, values)
    targets = read_targets(first, "valence")
    part = split_rows(targets, 0).part
    changed = values.copy()
    changed[first.index["prompt"].to_numpy()[targets.rows[part == E4]]] *= -3
    second = made_store(tmp_path / "b", prompts, changed)
    one, other = (evaluate_strict(s, "valence", seeds=1) for s in (first, second))
    for method, fit in one.pooled.fits.items():
        raw, its = (f.pooled.fits[method].weights[:, 0] / f.vectors.scale for f in (one, other))
        assert fit is one.pooled.fits[method]
        cosine = raw @ its / np.linalg.norm(raw) / np.linalg.norm(its)
        # Ridge solutions are found up to a tolerance.
        assert cosine == pytest.approx(1, abs=1e-4)


def test_results_do_not_depend_on_the_order_of_capture(tmp_path: Path) -> None:
    prompts = made_prompts(40, 24)
    values = made_activations(prompts)
    found = [
        evaluate_strict(made_store(tmp_path / name, prompts, values, seed=seed), "valence", seeds=2)
        for name, seed in (("a", 0), ("b", 7))
    ]
    one, other = ([row["accuracy"] for row in f.results if row["of"] == ""] for f in found)
    assert np.nanmax(np.abs(np.array(one) - np.array(other))) < 0.02


def test_a_layer_0_that_was_not_captured_and_missing_embeddings_are_told(tmp_path: Path) -> None:
    prompts = made_prompts(40, 24)
    store = made_store(tmp_path, prompts, made_activations(prompts), embeddings=False)
    found = evaluate_strict(store, "valence", seeds=2, layers=[2, 3])
    told = " ".join(found.remarks)
    assert "layer 0 is missing" in told
    assert "static embedding is missing" in told
    assert "centred-neutral is missing" in told


def test_not_a_number_is_told_with_its_place(tmp_path: Path) -> None:
    prompts = made_prompts(40, 24)
    values = made_activations(prompts)
    values[17, 2, 1, 0] = np.nan
    store = made_store(tmp_path, prompts, values)
    with pytest.raises(UserError, match="nan in layer 2 of prompt 17"):
        evaluate_strict(store, "valence", seeds=1)


def test_scaled_vectors_are_the_raw_ones(tmp_path: Path) -> None:
    prompts = made_prompts(10, 6)
    values = 1000 + 10 * made_activations(prompts)
    values[:, 0, 0, 0] = 5
    store = made_store(tmp_path, prompts, values)
    rows = np.arange(store.n_rows)[::-1]
    vectors = read_vectors(store, "value", rows, [0, 2])
    raw = vectors.scaled * vectors.scale + vectors.shift
    expected = store.read("value", rows=rows, layers=[0, 2]).reshape(len(rows), -1)
    assert raw == pytest.approx(expected, rel=1e-5)
    assert not vectors.scaled[:, 0].any()


def test_poles_are_shuffled_half_and_half(tmp_path: Path) -> None:
    prompts = made_prompts(60, 40)
    targets = read_targets(
        made_store(tmp_path, prompts, np.zeros((len(prompts), 1, 1, 1), np.float32)), "valence"
    )
    one = draw_round(targets, 0, ("lemma", "shape"))
    agrees = one.labels[0] == one.labels[1]
    assert agrees[one.split.train].mean() == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def two_dimensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prompts = made_prompts(60, 40, dimensions=("valence", "arousal"), n_shapes=20)
    folder = tmp_path_factory.mktemp("two")
    made_store(folder / "store", prompts, made_activations(prompts, strength=3))
    norms = pd.DataFrame(
        {
            "word": [f"word{k}" for k in range(60)],
            "valence": [5 + (1 - 2 * (k % 2)) * (1 + k % 5 / 5) for k in range(60)],
            "arousal": [5 + (1 - 2 * (k // 2 % 2)) * (1 + k % 3 / 3) for k in range(60)],
        }
    )
    norms.to_csv(folder / "norms.csv", index=False)
    return folder


def evaluate(folder: Path, out: Path, *options: str) -> list[str]:
    store = str(folder / "store")
    return ["probe", "evaluate", store, "--out", str(out), "--seeds", "2", *options]


def test_the_command_writes_what_it_prints(two_dimensions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        evaluate(two_dimensions, out, "--norms", str(two_dimensions / "norms.csv"), "--json"),
    )
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout[done.stdout.index("{") :])
    written = json.loads((out / "evaluation.json").read_text("utf-8"))
    assert printed == written
    frame = pd.read_parquet(out / "results.parquet")
    assert list(frame) == list(COLUMNS)
    assert len(frame) == len(written["results"])
    probes = frame[(frame["kind"] == "probe") & (frame["statistic"] == "accuracy")]
    assert set(probes["method"]) == {"logistic", "ridge", "lda", "mean-difference"}
    assert {"E1", "E2", "E3", "E4", "shape", "from valence", "from arousal"} == set(probes["split"])
    pearson = frame[
        (frame["statistic"] == "pearson")
        & (frame["kind"] == "probe")
        & (frame["split"] == "E4")
        & (frame["layer"] == 3)
        & (frame["features"] == "centred")
    ]
    assert (pearson["accuracy"] > 0.8).all()
    assert len(pearson) == 2


def test_tables_name_every_control(two_dimensions: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        evaluate(two_dimensions, tmp_path, "--dimension", "arousal", "--no-logistic"),
    )
    assert done.exit_code == 0, done.output
    for name in (
        "bag of words (!)",
        "static embedding (!)",
        "token count (!)",
        "template only (!)",
        "bag of words x negation flag",
        "static embedding x negation flag",
        "layer 0, ridge",
        "shuffled labels",
        "control task",
        "not applicable",
    ):
        assert name in done.stdout
    assert "valence" not in done.stdout


def test_independent_axes_do_not_read_each_other(two_dimensions: Path) -> None:
    from emo_harness.activations.store import open_activations

    store = open_activations(two_dimensions / "store")
    made = strict_evaluation(store, seeds=3, logistic=False)
    for row in made.results:
        if row["split"].startswith("from "):
            assert 0.3 < row["accuracy"] < 0.7
    angles = {one["layer"]: one for one in made.robustness["valence, arousal"]["angles"]}
    assert set(angles) == {None, 0, 1, 2, 3}
    assert angles[None]["low"] <= angles[None]["cosine"] <= angles[None]["high"]
    assert min(angles[3]["reliability"]) > 0.9
    assert made.robustness["valence, arousal"]["words_with_both_poles"] == {
        "words": 60,
        "same": 30,
    }
    curve = [
        one
        for one in made.robustness["valence"]["learning_curve"]
        if one["split"] == "E4" and one["features"] == "centred"
    ]
    sizes = [one["n_templates"] for one in curve]
    assert sizes == sorted(sizes)
    assert curve[-1]["accuracy"] > 0.9


def test_the_same_axis_reads_itself_at_an_angle_of_0(tmp_path: Path) -> None:
    prompts = made_prompts(60, 40, n_shapes=20)
    prompts["arousal"] = prompts["valence"]
    store = made_store(tmp_path, prompts, made_activations(prompts))
    made = strict_evaluation(store, seeds=2, logistic=False)
    angles = made.robustness["valence, arousal"]["angles"]
    assert all(one["cosine"] == pytest.approx(1, abs=1e-4) for one in angles)


def test_full_adds_logistic_controls(tmp_path: Path) -> None:
    prompts = made_prompts(40, 24)
    store = made_store(tmp_path, prompts, made_activations(prompts, n_layers=2, first=0))
    told = []
    made = strict_evaluation(store, seeds=2, full=True, tell=lambda what, _: told.append(what))
    assert told[0].startswith("--full takes about")
    assert "--full" not in " ".join(told[1:])
    of_logistic = [row for row in made.results if row["of"] == "logistic" and not row["head"]]
    assert {row["method"] for row in of_logistic} == {
        "shuffled labels",
        "random-label control task",
    }
    by_layer = {row["layer"] for row in made.results if row["method"] == "logistic"}
    assert by_layer == {None, 0, 1}
    assert {"valence: logistic, layer 0", "valence: logistic, layer 0 head 1"} <= set(told)
    of_heads = {
        (row["layer"], row["head"])
        for row in made.results
        if row["method"] == "logistic" and row["head"] is not None
    }
    assert of_heads == {(layer, head) for layer in (0, 1) for head in (0, 1)}
    groups = {tuple(one["group"]) for one in made.robustness["valence"]["folds"]}
    assert groups == {("adjective", "template"), ("lemma", "template"), ("lemma", "scenario")}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--protocol", "strikt"], "nearest: 'strict'"),
        (["--seeds", "0"], "--seeds"),
        (["--layers", "first"], "reading layers"),
        (["--layers", "9"], "no layer 9"),
        (["--group", "shpe"], "nearest: 'shape'"),
        (["--site", "key"], "no site 'key'"),
        (["--dimension", "weight"], "'weight'"),
        (["--protocol", "emo-llm", "--site", "key"], "--protocol emo-llm reads"),
    ],
)
def test_wrong_options_are_told(
    two_dimensions: Path, tmp_path: Path, options: list[str], found: str
) -> None:
    done = CliRunner().invoke(
        app, ["probe", "evaluate", str(two_dimensions / "store"), "--out", str(tmp_path), *options]
    )
    assert isinstance(done.exception, UserError)
    assert found in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_the_other_protocol_is_asked_for_by_name(two_dimensions: Path, tmp_path: Path) -> None:
    options = ["--protocol", "emo-llm", "--dimension", "arousal"]
    done = CliRunner().invoke(app, evaluate(two_dimensions, tmp_path, *options))
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "evaluation.json").read_text("utf-8"))["protocol"] == "emo-llm"
    assert "logistic, all layers" in done.stdout


def test_layers_are_numbers_and_ranges() -> None:
    assert layers_of("") is None
    assert layers_of("3,0-1, 3") == [0, 1, 3]
