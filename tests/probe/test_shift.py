"""The join of shifts and gains: planted relations are found, chance ones are not believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emo_harness.axes import Axis, save_axes
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.lm_models import WEIGHTS
from emo_harness.probe.shift import asked_groups, coordinates, group_summary, shift_table
from emo_harness.runs import read_runs
from tests.runs.made_runs import ARMS, made_run

N = 60
STIMULI = [{"id": f"s{i}", "kind": "stimulus", "family": "own", "text": f"T{i}."} for i in range(8)]


def a_run(folder: Path, score) -> Path:
    return made_run(
        folder,
        arms=[ARMS[0], *STIMULI],
        questions=[f"q{i}" for i in range(N)],
        score=score,
    )


def axes(n: int = 1) -> list[Axis]:
    ones = np.ones((1, 2), np.float32)
    return [Axis(name, "value", (0,), ones, ones, ones) for name in ("valence", "arousal")[:n]]


def number(prompt: str) -> tuple[int, int]:
    """(question, stimulus) of a made-up prompt; stimulus -1 for control."""
    question = int(prompt.split("Q: q")[1].split("\n")[0])
    return question, next((i for i in range(len(STIMULI)) if f"T{i}." in prompt), -1)


def reader(value, seen: list[str] | None = None):
    def read(texts):
        if seen is not None:
            seen.extend(texts)
        return np.array([[value(*number(text))] for text in texts], np.float64)

    return read


def test_coordinates_are_those_of_each_arms_own_prompt(tmp_path: Path) -> None:
    (group,) = asked_groups(read_runs([a_run(tmp_path, lambda q, a: 1.0)]).scores)
    seen: list[str] = []
    found = coordinates(group, reader(lambda q, s: 100 * q + s, seen), 1, n_questions=7)
    assert found.shape == (N, 9, 1)
    expected = 100 * np.arange(N)[:, None] + np.arange(-1, 8)
    order = [int(member.doc_ids[i]) for member in group.members for i in range(N)]
    np.testing.assert_array_equal(found[:, :, 0], expected[order])
    assert len(seen) == len(set(seen)) == N * 9
    table = shift_table(group, found, axes())
    assert len(table) == N * 9
    assert (table.loc[table.arm == "control", "valence_shift"] == 0).all()
    assert (table.loc[table.arm == "s3", "valence_shift"] == 4).all()


def test_a_planted_relation_is_found_between_stimuli(tmp_path: Path) -> None:
    def score(question: str, arm: str) -> float:
        if arm == "control":
            return 1.0
        return float(int(question[1:]) % 10 >= int(arm[1:]))

    (group,) = asked_groups(read_runs([a_run(tmp_path, score)]).scores)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N, 9))
    found = coordinates(group, reader(lambda q, s: s + 0.1 * noise[q, s + 1]), 1)
    at_random = rng.normal(size=(N, 9, 60))
    told = group_summary(group, np.concatenate([found, at_random], axis=2), axes(), rng)
    between, within = told["axes"][0]["between"], told["axes"][0]["within"]
    assert between["slope_pp"] == pytest.approx(-10, abs=1)
    assert between["p"] < 0.01
    assert between["p_random"] < 0.05
    assert within["p"] > 0.01
    (stimulus,) = [s for s in told["axes"][0]["stimuli"] if s["id"] == "s5"]
    assert stimulus["shift"][0] == pytest.approx(6, abs=0.1)
    assert stimulus["gain_pp"][0] == pytest.approx(-50)


def test_what_every_direction_shows_is_not_the_axis_own(tmp_path: Path) -> None:
    """Half of the questions are of another kind: it moves all prompts, and all scores."""

    def kind(question: int) -> int:
        return question % 2

    def score(question: str, arm: str) -> float:
        return 1.0 if arm == "control" else float(kind(int(question[1:])))

    (group,) = asked_groups(read_runs([a_run(tmp_path, score)]).scores)
    rng = np.random.default_rng(1)

    def directions(question: int, stimulus: int) -> list[float]:
        return [kind(question) * (stimulus >= 0) * w for w in weights] + rng.normal(size=101) * 0.1

    weights = rng.normal(size=101)
    found = coordinates(group, lambda texts: np.array([directions(*number(t)) for t in texts]), 101)
    told = group_summary(group, found, axes(), rng)
    within = told["axes"][0]["within"]
    assert within["p"] < 0.001
    assert within["p_random"] > 0.05


def test_the_command_reads_the_runs_own_model_and_the_report_shows_it(tmp_path: Path) -> None:
    run = made_run(
        tmp_path / "run",
        arms=[ARMS[0], *STIMULI],
        questions=[f"q{i}" for i in range(4)],
        score=lambda q, a: float(a != "s1"),
        config={"model": "emo-demo", "model_args": {}},
    )
    from emo_harness.activations.loading import load_language_model

    loaded = load_language_model(str(WEIGHTS), device="cpu")
    shape = (2, int(np.prod(loaded.layout.shape("value"))))
    rng = np.random.default_rng(0)
    made = [
        Axis(
            name,
            "value",
            (1, 4),
            rng.normal(size=shape).astype(np.float32),
            np.zeros(shape, np.float32),
            np.ones(shape, np.float32),
            {"model": loaded.facts.model_dump()},
        )
        for name in ("valence", "arousal")
    ]
    save_axes(tmp_path / "axes.safetensors", made)
    arguments = ["probe", "apply", run, "--axes", tmp_path / "axes.safetensors", "--random", 20]
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["is_same_model"]
    assert [axis["axis"] for axis in told["groups"][0]["axes"]] == ["valence", "arousal"]
    again = CliRunner().invoke(app, [*map(str, arguments)])
    assert again.exit_code == 0, again.output
    report = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "report")])
    assert report.exit_code == 0, report.output
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "Shift inside, gain outside" in page
    assert "No relation shown" in page or "random directions" in page

    (run / "posthoc" / "axis_shift.json").write_text('{"schema_version": 1}')
    broken = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "report")])
    assert isinstance(broken.exception, UserError)


def test_axes_of_another_model_are_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", config={"model": "emo-demo", "model_args": {}})
    ones = np.ones((1, 64), np.float32)
    facts = {"model": {"identity": "content 00", "n_layers": 6, "hidden_size": 128}}
    save_axes(
        tmp_path / "axes.safetensors", [Axis("valence", "value", (0,), ones, ones, ones, facts)]
    )
    arguments = ["probe", "apply", run, "--axes", tmp_path / "axes.safetensors"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, UserError)
    done = CliRunner().invoke(app, [*map(str, arguments), "--axis", "joy"])
    assert "choosing the axis 'joy'" in str(done.exception)


def test_runs_of_a_steered_model_are_not_read_in_the_model_as_it_is(tmp_path: Path) -> None:
    steered = {"model_args": {"pretrained": "m", "steer": "axes.safetensors:valence:+1"}}
    run = made_run(tmp_path / "steered", config=steered)
    with pytest.raises(UserError, match="a steered model alone"):
        asked_groups(read_runs([run]).scores)
    made_run(tmp_path / "plain", config={"model_args": {"pretrained": "m"}})
    (group,) = asked_groups(read_runs([tmp_path]).scores)
    assert "steer" not in group.head.settings
