"""What is wrong with a store, an option or an output is told, before anything is computed."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from emo_harness.activations.store import Activations, open_activations
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.probe.emo_llm.protocol import evaluate_emo_llm
from emo_harness.probe.strict.fitting import fit_axis
from tests.probe.made_store import made_activations, made_prompts, made_store

COMMANDS = [["evaluate", "--no-logistic"], ["evaluate", "--protocol", "emo-llm"], ["fit"]]


@pytest.fixture
def store(tmp_path: Path) -> Activations:
    prompts = made_prompts(40, 24)
    return made_store(tmp_path / "store", prompts, made_activations(prompts))


def told_by(command: list[str], store: Path, out: Path, *options: str) -> str:
    name, *own = command
    seeds = ["--seeds", "1"] if name == "evaluate" else []
    done = CliRunner().invoke(
        app, ["probe", name, str(store), "--out", str(out), *seeds, *own, *options]
    )
    assert isinstance(done.exception, UserError), done.output
    return str(done.exception)


def garbled(folder: Path) -> None:
    (folder / "index.parquet").write_bytes(b"no table")


def shortened(folder: Path) -> None:
    index = pd.read_parquet(folder / "index.parquet")
    index.iloc[:-10].to_parquet(folder / "index.parquet")


def without_words(folder: Path) -> None:
    index = pd.read_parquet(folder / "index.parquet")
    index.drop(columns="word").to_parquet(folder / "index.parquet")


def flipped(folder: Path) -> None:
    path = folder / "shard-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-400] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (garbled, "index.parquet: no index"),
        (shortened, "950 rows instead of 960"),
        (without_words, "no column word"),
        (flipped, "other content than was captured"),
    ],
)
def test_a_damaged_store(
    store: Activations,
    tmp_path: Path,
    command: list[str],
    spoil: Callable[[Path], None],
    told: str,
) -> None:
    spoil(store.folder)
    out = tmp_path / "out"
    assert told in told_by(command, store.folder, out)
    assert not out.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_activations_that_are_not_finite(tmp_path: Path, command: list[str]) -> None:
    prompts = made_prompts(40, 24)
    values = made_activations(prompts)
    values[:, 2, 1, 0] = np.where(prompts["word"] == "word7", np.inf, values[:, 2, 1, 0])
    made_store(tmp_path / "store", prompts, values)
    out = tmp_path / "out"
    assert "inf in layer 2 of prompt" in told_by(command, tmp_path / "store", out)
    assert not out.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_in_a_file_is_told_first(
    store: Activations, tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine", "utf-8")
    # The store is not even looked at.
    assert f"{file} is a file" in told_by(command, tmp_path / "nowhere", file / "out")
    assert file.read_text("utf-8") == "mine"


def test_axes_are_a_file(store: Activations, tmp_path: Path) -> None:
    assert "axes.safetensors" in told_by(["fit"], store.folder, tmp_path)


def test_a_full_disk_leaves_nothing(
    store: Activations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_in_its_own_way(*args: object) -> None:
        from safetensors import SafetensorError

        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    out = tmp_path / "out"
    monkeypatch.setattr("safetensors.numpy.save_file", full_in_its_own_way)
    assert "No space left" in told_by(["fit"], store.folder, out / "axes.safetensors")
    monkeypatch.setattr(Path, "write_bytes", full)
    for command in COMMANDS[:2]:
        assert "No space left" in told_by(command, store.folder, out)
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "options",
    [["--layers", "1"], ["--full"], ["--no-logistic"], ["--group", "lemma"], ["--norms", "n.csv"]],
)
def test_options_that_a_protocol_does_not_have(
    store: Activations, tmp_path: Path, options: list[str]
) -> None:
    told = told_by(["evaluate", "--protocol", "emo-llm"], store.folder, tmp_path / "out", *options)
    assert options[0] in told and "--protocol strict" in told


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[2]])
def test_layers_that_go_down(store: Activations, tmp_path: Path, command: list[str]) -> None:
    assert "3-1" in told_by(command, store.folder, tmp_path / "out", "--layers", "3-1")


def test_a_dimension_named_twice_is_one(store: Activations, tmp_path: Path) -> None:
    out = tmp_path / "axes.safetensors"
    options = ["--dimension", "valence", "--dimension", "valence", "--json"]
    done = CliRunner().invoke(app, ["probe", "fit", str(store.folder), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout[done.stdout.index("{") :])["axes"]) == 1


@pytest.mark.parametrize("content", ["[]", "{}", '{"settings": []}'])
def test_files_that_are_no_evaluation(store: Activations, tmp_path: Path, content: str) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "evaluation.json").write_text(content, "utf-8")
    store.index.to_parquet(evaluation / "results.parquet")
    out = tmp_path / "axes.safetensors"
    told = told_by(["fit"], store.folder, out, "--evaluation", str(evaluation))
    assert "no evaluation" in told
    assert not out.exists()


def test_an_evaluation_by_either_protocol_goes_with_its_axis(
    store: Activations, tmp_path: Path
) -> None:
    evaluation, out = tmp_path / "evaluation", tmp_path / "axes.safetensors"
    evaluate_emo_llm(store, "valence", seeds=1, out=evaluation, progress=False)
    options = ["--method", "logistic", "--features", "raw", "--evaluation", str(evaluation)]
    done = CliRunner().invoke(app, ["probe", "fit", str(store.folder), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    path = evaluation / "evaluation.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["settings"]["model"]["name"] = "other"
    path.write_text(json.dumps(facts), "utf-8")
    told = told_by(["fit"], store.folder, out, *options)
    assert "another model" in told


def test_whether_a_fit_converged_goes_with_its_axis(
    store: Activations, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit_axis(store, "valence").facts["converged"] == [None] * 4
    assert fit_axis(store, "valence", method="logistic").facts["converged"] == [True] * 4
    from emo_harness.probe.strict import fitting

    whole = fitting.fit_logistic
    monkeypatch.setattr(fitting, "fit_logistic", lambda x, y: whole(x, y, max_iterations=1))
    axis = fit_axis(open_activations(store.folder), "valence", method="logistic")
    assert False in axis.facts["converged"]
