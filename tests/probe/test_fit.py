"""Axes as they are fitted: in raw units, as long as the classes lie apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emo_harness.activations.store import Activations, open_activations
from emo_harness.axes import load_axes
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.probe.strict.fitting import METHODS, fit_axis
from emo_harness.probe.targets import read_targets
from tests.probe.made_store import made_activations, made_prompts, made_store

STRENGTH = 3.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Activations:
    prompts = made_prompts(60, 40, dimensions=("valence", "arousal"), n_shapes=20)
    values = made_activations(prompts, strength=STRENGTH)
    # Units that differ by feature: an axis in standardised units would not pass.
    values *= np.linspace(0.2, 5, 12).reshape(1, 1, 2, 6).astype(np.float32)
    return made_store(tmp_path_factory.mktemp("store"), prompts, values)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("features", ["centred", "raw"])
def test_an_axis_is_as_long_as_the_classes_lie_apart_along_it(
    store: Activations, method: str, features: str
) -> None:
    axis = fit_axis(store, "valence", method=method, features=features)
    targets = read_targets(store, "valence")
    raw = store.read("value", rows=targets.rows)
    coordinates = axis.coordinates(raw)
    high, low = (coordinates[targets.targets == sign].mean(axis=0) for sign in (1, -1))
    # With as many words of each pole in every template, raw and centred class means are the same.
    assert high - low == pytest.approx(np.ones(4), abs=1e-3)
    assert high + low == pytest.approx(np.zeros(4), abs=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_direction_is_found(store: Activations, method: str) -> None:
    axis = fit_axis(store, "valence", method=method)
    targets = read_targets(store, "valence")
    coordinates = axis.coordinates(store.read("value", rows=targets.rows))
    centred = coordinates.copy()
    for template in range(len(targets.negates)):
        own = targets.template == template
        centred[own] -= centred[own].mean(axis=0)
    right = (np.sign(centred) == targets.targets[:, None]).mean(axis=0)
    assert (right[2:] > 0.8).all()
    assert (right[:2] < 0.65).all()


def test_a_mean_difference_is_the_difference_of_the_class_means(store: Activations) -> None:
    axis = fit_axis(store, "valence", features="raw", layers=[1, 3])
    targets = read_targets(store, "valence")
    raw = store.read("value", rows=targets.rows, layers=[1, 3]).reshape(len(targets), 2, -1)
    high, low = (raw[targets.targets == sign].mean(axis=0) for sign in (1, -1))
    assert axis.layers == (1, 3)
    assert axis.vectors == pytest.approx(high - low, abs=1e-3)
    assert axis.origin == pytest.approx((high + low) / 2, abs=1e-3)
    assert (axis.scale == 1).all()


def test_a_standardised_fit_saves_its_scaler(store: Activations) -> None:
    axis = fit_axis(store, "valence", features="raw", method="ridge")
    rows = read_targets(store, "valence").rows
    expected = store.read("value", rows=rows).reshape(len(rows), 4, -1).std(axis=0)
    assert axis.scale == pytest.approx(expected, rel=1e-3)


def test_centring_makes_up_for_words_that_are_missing_in_a_template(tmp_path: Path) -> None:
    prompts = made_prompts(40, 24)
    values = made_activations(prompts, offset=20, noise=0.1, additive=0)
    # Half of the high words are missing where sentences do not negate.
    kept = ~((prompts["valence"] == 1) & ~prompts["negation"] & (prompts.index % 40 >= 20))
    whole = made_store(tmp_path / "whole", prompts, values)
    part = made_store(tmp_path / "part", prompts[kept].reset_index(drop=True), values[kept])
    reference = fit_axis(whole, "valence")
    for features, least in (("centred", 0.9), ("raw", -1.0)):
        cosine = fit_axis(part, "valence", features=features).cosines(reference)[2:]
        assert (cosine > least).all()
    assert (fit_axis(part, "valence", features="raw").cosines(reference)[2:] < 0.9).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_knows_nothing_of_the_word_has_no_axis(tmp_path: Path, method: str) -> None:
    prompts = made_prompts(40, 24)
    values = made_activations(prompts, n_layers=2, first=0)
    by_template = np.random.default_rng(0).standard_normal((24, 2, 6)).astype(np.float32)
    values[:, 0] = by_template[prompts["template"]]
    axis = fit_axis(made_store(tmp_path, prompts, values), "valence", method=method)
    assert not axis.vectors[0].any()
    assert axis.distances[1] > 1
    assert np.isnan(axis.coordinates(values)[:, 0]).all()


def test_the_command_fits_all_dimensions_into_one_file(store: Activations, tmp_path: Path) -> None:
    evaluation, out = tmp_path / "evaluation", tmp_path / "axes.safetensors"
    run = CliRunner().invoke
    folder = str(store.folder)
    done = run(
        app,
        ["probe", "evaluate", folder, "--out", str(evaluation), "--seeds", "2", "--no-logistic"],
    )
    assert done.exit_code == 0, done.output
    done = run(app, ["probe", "fit", folder, "--out", str(out), "--evaluation", str(evaluation)])
    assert done.exit_code == 0, done.output
    arousal, valence = sorted(load_axes(out), key=lambda axis: axis.name)
    assert (valence.name, arousal.name) == ("valence", "arousal")
    for axis in (valence, arousal):
        facts = axis.facts
        assert facts["model"]["name"] == "made"
        assert facts["corpus"]["sha256"] == "made"
        assert facts["n_prompts"] == 2400
        assert {one["split"] for one in facts["evaluation"]["accuracies"]} >= {"E1", "E4"}
        assert facts["evaluation"]["verdicts"]
    assert abs(valence.cosine(arousal)) < 0.5


def test_fitting_twice_gives_equal_bytes(store: Activations, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        done = CliRunner().invoke(app, ["probe", "fit", str(store.folder), "--out", str(path)])
        assert done.exit_code == 0, done.output
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--method", "ridgee"], "nearest: 'ridge'"),
        (["--features", "centered"], "nearest: 'centred'"),
        (["--layers", "7"], "no layer 7"),
        (["--site", "key"], "no site 'key'"),
        (["--evaluation", "nowhere"], "evaluation.json and results.parquet"),
    ],
)
def test_wrong_options_are_told(
    store: Activations, tmp_path: Path, options: list[str], found: str
) -> None:
    out = tmp_path / "axes.safetensors"
    done = CliRunner().invoke(app, ["probe", "fit", str(store.folder), "--out", str(out), *options])
    assert isinstance(done.exception, UserError)
    assert found in str(done.exception)
    assert not out.exists()


def test_an_evaluation_of_other_activations_is_refused(store: Activations, tmp_path: Path) -> None:
    import json

    evaluation = tmp_path / "evaluation"
    done = CliRunner().invoke(
        app, ["probe", "evaluate", str(store.folder), "--out", str(evaluation), "--seeds", "1"]
    )
    assert done.exit_code == 0, done.output
    path = evaluation / "evaluation.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["settings"]["corpus"] = "other"
    path.write_text(json.dumps(facts), "utf-8")
    done = CliRunner().invoke(
        app,
        [
            "probe",
            "fit",
            str(store.folder),
            "--out",
            str(tmp_path / "axes"),
            "--evaluation",
            str(evaluation),
        ],
    )
    assert "another corpus" in str(done.exception)


def test_a_store_of_texts_is_told(tmp_path: Path) -> None:
    prompts = made_prompts(10, 6)
    made_store(tmp_path, prompts, np.zeros((60, 1, 1, 2), np.float32))
    store = open_activations(tmp_path)
    store.manifest.corpus.clear()
    with pytest.raises(UserError, match="activations of a probing corpus"):
        fit_axis(store, "valence")
