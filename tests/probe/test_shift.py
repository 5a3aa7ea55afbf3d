"""The join of shifts and gains: planted relations are found, chance ones are not believed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emo_harness.activations.loading import load_language_model
from emo_harness.axes import Axis, save_axes
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.lm_models import WEIGHTS
from emo_harness.probe.shift import (
    AskedGroup,
    asked_groups,
    coordinates,
    group_summary,
    shift_table,
)
from emo_harness.runs import read_runs
from tests.runs.made_runs import ARMS, made_run
from tests.runs.made_runs import sha256 as question_hash

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


def test_prompts_that_did_not_fit_are_left_out(tmp_path: Path) -> None:
    (group,) = asked_groups(read_runs([a_run(tmp_path, lambda q, a: 1.0)]).scores)
    member = group.members[0]
    cut = np.zeros(member.scores.shape, bool)
    cut[4, 2] = True
    group = AskedGroup((replace(member, truncated=cut),))
    found = coordinates(group, reader(lambda q, s: np.nan if (q, s) == (7, 0) else 1.0), 1)
    asked = np.argwhere(np.isnan(found[:, :, 0])).tolist()
    assert asked == [[4, 2], [member.questions.index(question_hash("q7")), 1]]
    assert group_summary(group, found, axes(), np.random.default_rng(0))["n_cut"] == 2


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


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of the demo model, which gave these answers, and axes in it."""
    from emo_harness.run_model.logged_answers import likeliest_tokens

    folder = tmp_path_factory.mktemp("demo")
    loaded = load_language_model(str(WEIGHTS), device="cpu")

    def answer(question: str, arm: str) -> str:
        text = {"control": "", **{s["id"]: s["text"] for s in STIMULI}}[arm]
        prompt = f"Q: {question}\nA:" + (f"\n{text}" if text else "")
        tokens, _ = likeliest_tokens(loaded, prompt, 8)
        return loaded.tokenizer.decode(tokens, skip_special_tokens=True).split("\n")[0]

    run = made_run(
        folder / "run",
        arms=[ARMS[0], *STIMULI],
        questions=[f"q{i}" for i in range(4)],
        answer=answer,
        score=lambda q, a: float(a != "s1"),
        config={"model": "emo-demo", "model_args": {}},
    )
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
    save_axes(folder / "axes.safetensors", made)
    return run, folder / "axes.safetensors"


def apply(run: Path, axes_file: Path, *more: str) -> Any:
    arguments = ["probe", "apply", run, "--axes", axes_file, "--random", 20, *more]
    return CliRunner().invoke(app, [*map(str, arguments)])


def reported(run: Path, out: Path) -> str:
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return (out / "report.html").read_text("utf-8")


def test_the_command_reads_the_runs_own_model_and_the_report_shows_it(
    demo_run: tuple[Path, Path], tmp_path: Path
) -> None:
    run, axes_file = demo_run
    done = apply(run, axes_file, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["is_same_model"]
    assert told["forced"] is None
    assert told == json.loads((run / "posthoc" / "axis_shift.json").read_text("utf-8"))
    assert [axis["axis"] for axis in told["groups"][0]["axes"]] == ["valence", "arousal"]
    again = apply(run, axes_file)
    assert again.exit_code == 0, again.output
    page = reported(run, tmp_path / "report")
    assert "Shift inside, gain outside" in page
    assert "No relation shown" in page or "random directions" in page
    assert "It was forced" not in page

    # As a version before stamps and draws wrote it.
    old = {k: v for k, v in told.items() if k not in ("forced", "n_drawn", "seed")}
    (run / "posthoc" / "axis_shift.json").write_text(json.dumps(old))
    assert "Shift inside, gain outside" in reported(run, tmp_path / "old")

    (run / "posthoc" / "axis_shift.json").write_text('{"schema_version": 1}')
    broken = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "report")])
    assert isinstance(broken.exception, UserError)


def test_questions_are_drawn_with_a_seed(demo_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, axes_file = demo_run
    drawn = [
        json.loads(apply(run, axes_file, "--questions", "2", "--seed", seed, "--json").stdout)
        for seed in ("1", "1", "2")
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0]["groups"][0]["n_questions"] == 2
    assert "2 questions, drawn with seed 2" in reported(run, tmp_path)


def test_another_model_is_refused_or_forced_and_the_report_says_so(
    demo_run: tuple[Path, Path], tmp_path: Path
) -> None:
    run, axes_file = demo_run
    answered = tmp_path / "run"
    shutil.copytree(run, answered)
    (samples,) = answered.glob("samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    for line in lines:
        line["resps"] = [["What nobody said."] for _ in line["resps"]]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = apply(answered, axes_file)
    assert isinstance(refused.exception, UserError)
    assert "other answers than those that were logged" in refused.exception.found
    done = apply(answered, axes_file, "--force", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert not told["is_same_model"]
    assert "other answers" in told["forced"]
    page = reported(answered, tmp_path / "report")
    assert "It was forced although there was found: other answers" in page


def test_axes_of_another_model_are_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", config={"model": "emo-demo", "model_args": {}})
    ones = np.ones((1, 64), np.float32)
    facts = {"model": {"identity": "content 00", "n_layers": 6, "hidden_size": 128}}
    save_axes(
        tmp_path / "axes.safetensors", [Axis("valence", "value", (0,), ones, ones, ones, facts)]
    )
    done = apply(run, tmp_path / "axes.safetensors", "--force")
    assert isinstance(done.exception, UserError)
    assert "of another model" in str(done.exception) or "axis" in str(done.exception)
    done = apply(run, tmp_path / "axes.safetensors", "--axis", "joy")
    assert "choosing the axis 'joy'" in str(done.exception)


def test_runs_of_a_steered_model_are_not_read_in_the_model_as_it_is(tmp_path: Path) -> None:
    steered = {"model_args": {"pretrained": "m", "steer": "axes.safetensors:valence:+1"}}
    run = made_run(tmp_path / "steered", config=steered)
    with pytest.raises(UserError, match="a steered model alone"):
        asked_groups(read_runs([run]).scores)
    made_run(tmp_path / "plain", config={"model_args": {"pretrained": "m"}})
    (group,) = asked_groups(read_runs([tmp_path]).scores)
    assert "steer" not in group.head.settings
