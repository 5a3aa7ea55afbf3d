"""`emo steer` and its commands, as a user calls them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from emo_harness.axes import save_axes
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from tests.steer.steered_models import axis_for, loaded

WORDS = "positive: [True, box, key]\nnegative: [False, friend, sick]\n".replace("True", "'True'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("steer")
    own = loaded(found / "model")
    facts = {"model": own.facts.model_dump()}
    axes = [
        replace(axis_for(own.layout, site), name=name, facts=facts)
        for name, site in (("valence", "value"), ("valence", "resid_post"), ("arousal", "value"))
    ]
    save_axes(found / "axes.safetensors", axes)
    (found / "words.yaml").write_text(WORDS.replace("False", "'False'"))
    lines = [
        {"text": f"Your friend is {word}", "class": kind, "group": group}
        for group in range(4)
        for word, kind in (("a key", "neutral"), ("sick", "negative"), ("a box", "positive"))
    ]
    (found / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (found / "prompts.txt").write_text("The question is\nYour friend\nA box and a key\n")
    (found / "norms.csv").write_text("word,valence\nbox,3\nsick,-2\nfriend,1\nkey,0.5\n")
    return found


def emo(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["steer", *map(str, arguments)])


def steered(folder: Path, *arguments: object) -> Result:
    own = ("--model", folder / "model", "--axes", folder / "axes.safetensors")
    small = ("--limit", 2, "--controls", 2, "--doses", "-1,1", "--continuations", 2)
    words = ("--words", folder / "words.yaml", "--max-tokens", 3)
    return emo(*own, *small, *words, *arguments)


def test_a_table_files_and_verdicts(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = steered(folder, "--site", "value", "--prompts", folder / "prompts.jsonl", "--out", out)
    assert done.exit_code == 0, done.exception
    assert "interaction" in done.stdout and "wrong way" in done.stdout
    told = json.loads((out / "steer.json").read_text())
    assert told["steering"]["doses"] == [-1.0, 0.0, 1.0]
    assert told["zero_dose_equals_unsteered"] is True
    assert [one["kind"] for one in told["controls"]] == ["random"] * 2 + ["orthogonal"] * 2
    assert told["axis"]["interaction"]["n_clusters"] == 4
    rows = pd.read_parquet(out / "steer.parquet")
    assert set(rows["measure"]) == {"log_odds", "kl_nats", "log_probability"}
    assert (out / "steer.svg").read_text().startswith("<?xml")


def test_json_alone_on_standard_output(folder: Path, tmp_path: Path) -> None:
    done = steered(
        folder,
        *("--axis", "arousal", "--layers", "1", "--positions", "last", "--json"),
        *("--prompts", folder / "prompts.txt", "--out", tmp_path / "out"),
    )
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert told["steering"]["layers"] == [1] and told["steering"]["positions"] == "last"
    assert told["n_prompts"] == 2 and told["axis"]["interaction"] is not None


def test_samples_are_rated_by_norms(folder: Path, tmp_path: Path) -> None:
    done = steered(
        folder,
        *("--site", "resid_post", "--samples", 8, "--lexicon", folder / "norms.csv", "--json"),
        *("--prompts", folder / "prompts.txt", "--out", tmp_path / "out"),
    )
    assert done.exit_code == 0, done.exception
    curve = json.loads(done.stdout)["axis"]["curve"]
    assert all(point["sample_perplexity"] > 1 for point in curve)


def test_the_shipped_corpus_is_the_default(folder: Path, tmp_path: Path) -> None:
    done = steered(folder, "--site", "value", "--json", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["n_prompts"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no --out"),
        (("--out", "x"), "2 of that name"),
        (("--out", "x", "--axis", "valense"), "0 of that name"),
        (("--out", "x", "--site", "value", "--doses", "high"), "--doses"),
        (("--out", "x", "--site", "value", "--doses", "0"), "--doses"),
        (("--out", "x", "--site", "value", "--doses", "nan"), "--doses"),
        (("--out", "x", "--site", "value", "--layers", "4"), "layer 4"),
        (("--out", "x", "--site", "value", "--positions", "first"), "positions 'first'"),
        (("--out", "x", "--site", "value", "--samples", "3"), "without the other"),
        (("--out", "x", "--site", "value", "--prompts", "none.txt"), "No such file"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = emo("--model", "no/such", "--axes", folder / "axes.safetensors", *arguments)
    assert isinstance(done.exception, UserError)
    assert told in str(done.exception)


def test_prompts_of_one_class_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a key", "class": "positive"}\n')
    done = steered(folder, "--site", "value", "--prompts", path, "--out", tmp_path / "out")
    assert isinstance(done.exception, UserError) and "one class" in str(done.exception)


def test_prompts_beyond_the_context_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("the box " * 200)
    done = steered(folder, "--site", "value", "--prompts", path, "--out", tmp_path / "out")
    assert isinstance(done.exception, UserError) and "context window" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_axes_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    loaded(other, num_hidden_layers=3)
    own = ("--axes", folder / "axes.safetensors", "--axis", "arousal", "--out", tmp_path / "out")
    done = emo("--model", other, *own)
    assert isinstance(done.exception, UserError) and "2 layers" in str(done.exception)


def test_two_prompts_are_interpolated(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = emo(
        *("interpolate", "--model", folder / "model", "--steps", 3, "--continuations", 3),
        *("--from", "the x", "--to", "the z", "--max-tokens", 4, "--out", out),
    )
    assert done.exit_code == 0, done.exception
    rows = pd.read_parquet(out / "interpolate.parquet")
    assert set(rows["share"]) == {0.0, 0.5, 1.0} and np.isfinite(rows["log_probability"]).all()
    assert (out / "interpolate.svg").is_file() and "they part by" in done.stdout


def test_an_axis_is_exported_with_the_model_it_was_fitted_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "steer.pt"
    axes = folder / "axes.safetensors"
    done = emo("export", axes, "--axis", "valence", "--site", "resid_post", "--out", out)
    assert done.exit_code == 0, done.exception
    assert "layers.0, layers.1" in done.stdout and out.is_file()


@pytest.mark.parametrize("command", [(), ("interpolate",), ("export",)])
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    done = emo(*command, "--help")
    assert done.exit_code == 0 and "Example" in done.stdout
