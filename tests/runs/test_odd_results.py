from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.runs import ArmScores, find_tasks, read_runs, repeats
from tests.runs.made_runs import ARMS, TASK, made_run

RECORD = ("configs", TASK, "metadata", "emo")
CONFIG = ("configs", TASK)
GONE = object()
NOT_TEXT: tuple[Any, ...] = (None, 5, ["x"], {"x": 1}, True)
NOT_MAPPING: tuple[Any, ...] = (None, 5, [], "x")
Where = tuple[str | int, ...]


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """A results file that reads; its run folder is `tmp_path`."""
    folder = made_run(tmp_path, results={"max_length": 2048, "system_instruction": None})
    return json.loads(next(folder.glob("results_*")).read_text())


def changed(results: dict[str, Any], path: Where, value: object) -> dict[str, Any]:
    mutated = copy.deepcopy(results)
    inside: Any = mutated
    for key in path[:-1]:
        inside = inside[key]
    if value is GONE:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return mutated


def read(folder: Path, results: dict[str, Any]) -> list[ArmScores]:
    next(folder.glob("results_*")).write_text(json.dumps(results), encoding="utf-8")
    return read_runs([folder], progress=False).scores


def refused(folder: Path, results: dict[str, Any]) -> UserError:
    with pytest.raises(UserError) as raised:
        read(folder, results)
    told = raised.value
    assert told.found and told.expected and told.fix
    assert next(folder.glob("results_*")).name in told.doing
    return told


@pytest.mark.parametrize("value", NOT_MAPPING)
@pytest.mark.parametrize("key", ["n-shot", "n-samples", "config"])
def test_a_header_that_is_no_mapping_is_refused_by_name(
    tmp_path: Path, good: dict[str, Any], key: str, value: object
) -> None:
    assert key.replace("-", "_") in refused(tmp_path, changed(good, (key,), value)).found


TEXTS = (
    "benchmark",
    "mode",
    "family",
    "placement",
    "metric",
    "filter",
    "stimuli_sha256",
    "subtask",
)


@pytest.mark.parametrize("value", NOT_TEXT)
@pytest.mark.parametrize("key", TEXTS)
def test_a_recorded_text_that_is_none_is_refused_by_name(
    tmp_path: Path, good: dict[str, Any], key: str, value: object
) -> None:
    odd = changed(good, (*RECORD, key), value)
    if key == "subtask" and value is None:
        assert {s.subtask for s in read(tmp_path, odd)} == {"bbh"}
    else:
        assert key in refused(tmp_path, odd).found


@pytest.mark.parametrize("key", [*TEXTS, "source"])
def test_what_the_record_lacks_is_named(tmp_path: Path, good: dict[str, Any], key: str) -> None:
    assert key in refused(tmp_path, changed(good, (*RECORD, key), GONE)).found


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        *((("source",), value, "source") for value in NOT_MAPPING),
        (("source", "kind"), GONE, "source.kind"),
        (("source", "place"), GONE, "source.place"),
        *((("source", "place"), value, "source.place") for value in NOT_TEXT),
        *((("n_dropped",), value, "n_dropped") for value in (None, "x", [], 1.5, -1, True)),
        *((("arms", 2, "text"), value, "arms") for value in NOT_TEXT),
        *((("arms", 2, "kind"), value, "arms") for value in (*NOT_TEXT, "stimulant")),
        *((("arms", 2, "id"), value, "arms") for value in NOT_TEXT),
        (("arms", 2, "arousal_rank"), "3", "arms"),
        (("arms", 2), None, "arms"),
        (("arms",), None, "arms"),
        (("arms",), [], "no arms"),
        (("arms",), ARMS[1:], "the arms neutral-5 (placebo), ea01 (stimulus)"),
        (("arms",), [*ARMS[1:], ARMS[0]], "the arms neutral-5 (placebo)"),
        (("arms",), [*ARMS, ARMS[2]], "several arms called ea01"),
        (("arms", 0, "kind"), "stimulus", "control (stimulus)"),
        (("arms", 2, "kind"), "control", "ea01 (control)"),
    ],
)
def test_an_odd_record_is_refused_by_name(
    tmp_path: Path, good: dict[str, Any], path: Where, value: object, told: str
) -> None:
    assert told in refused(tmp_path, changed(good, (*RECORD, *path), value)).found


@pytest.mark.parametrize("value", [None, 0, -1, 2.0, "2", "x", [], True])
def test_repeats_are_a_whole_number(tmp_path: Path, good: dict[str, Any], value: object) -> None:
    assert "repeats" in refused(tmp_path, changed(good, (*CONFIG, "repeats"), value)).found


@pytest.mark.parametrize(
    "value", [GONE, None, {}, {"original": 3}, {"original": 3, "effective": "3"}]
)
def test_numbers_of_questions_are_needed(
    tmp_path: Path, good: dict[str, Any], value: object
) -> None:
    refused(tmp_path, changed(good, ("n-samples", TASK), value))


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("config",),
        CONFIG,
        RECORD,
        (*RECORD, "source"),
        (*RECORD, "arms", 1),
        ("n-samples", TASK),
    ],
)
def test_keys_of_another_version_are_left_alone(
    tmp_path: Path, good: dict[str, Any], path: Where
) -> None:
    expected = [s.scores.tolist() for s in read(tmp_path, good)]
    more = changed(good, (*path, "from a later version"), ["anything"])
    assert [s.scores.tolist() for s in read(tmp_path, more)] == expected


def test_half_of_a_surrogate_pair_in_the_record_is_read(
    tmp_path: Path, good: dict[str, Any]
) -> None:
    """A folder or an argument whose name is not UTF-8 comes so into `place` and `command`."""
    odd = changed(good, (*RECORD, "source", "place"), "bbh\udcff/navigate.json")
    (fact,) = {s.facts.sources for s in read(tmp_path, odd)}
    assert fact[0].place == "bbh?/navigate.json"


def paths_in(value: object, path: Where = ()) -> Iterator[Where]:
    if path:
        yield path
    inside: Any = value.items() if isinstance(value, dict) else ()
    inside = enumerate(value) if isinstance(value, list) else inside
    for key, part in inside:
        yield from paths_in(part, (*path, key))


@pytest.mark.parametrize(
    "value", [GONE, None, [], {}, "x", "\ud800", 5, -1, 10**30, 1.5, float("nan"), True]
)
def test_every_single_change_of_a_results_file_is_read_or_refused(
    tmp_path: Path, good: dict[str, Any], value: object
) -> None:
    for path in paths_in(good):
        try:
            read(tmp_path, changed(good, path, value))
        except UserError:
            continue
        except Exception as error:
            raise AssertionError(f"{path} = {value!r}") from error


def with_score(folder: Path, score: float) -> Path:
    return made_run(folder, score=lambda q, arm: score if (q, arm) == ("b", "ea01") else 1.0)


@pytest.mark.parametrize("score", [2.0, -0.5, 1.0000001, 1e300])
def test_a_score_that_is_no_share_is_refused_with_file_line_and_arm(
    tmp_path: Path, score: float
) -> None:
    samples = next(with_score(tmp_path, score).glob("samples_*"))
    with pytest.raises(UserError) as raised:
        read_runs([tmp_path], progress=False)
    assert f"{samples.name}, line 2" in raised.value.doing
    assert f"{score:g}" in raised.value.found and "ea01" in raised.value.found


@pytest.mark.parametrize("score", [0, 1, 0.25, -0.0])
def test_every_share_is_a_score(tmp_path: Path, score: float) -> None:
    for one in read_runs([with_score(tmp_path, score)], progress=False).scores:
        assert one.scores[1, 2] == score


def test_a_repeated_response_is_scored_within_the_same_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def marks(target: str, answer: str) -> float:
        return 2.0 if answer == "No" else 1.0

    monkeypatch.setattr(repeats, "_metrics", lambda _: {"exact_match": marks})
    made_run(tmp_path, declared={"repeats": 2}, answer=lambda q, arm: ["Yes", "No"])
    with pytest.raises(UserError, match="the score 2 under control"):
        read_runs([tmp_path], progress=False)


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    (task,) = find_tasks([made_run(tmp_path)])
    assert [arm.id for arm in task.arms] == [arm["id"] for arm in ARMS]
    assert [arm.family for arm in task.arms] == ["control", "placebo", "attack", "attack"]
    tagged = task.arms[2]
    assert (tagged.theory, tagged.demand, tagged.arousal_rank) == ("sadness", False, 3)
    assert task.record.benchmark == "bbh" and task.record.source.kind == "folder"
