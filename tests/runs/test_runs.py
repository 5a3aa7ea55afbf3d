from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.runs import find_tasks, read_runs, read_scores
from tests.conftest import answers_mini, build_task, write_run


def copy(run: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A copy of a run to break: (folder, results file, one samples file)."""
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)
    return folder, next(folder.rglob("results_*.json")), next(folder.rglob("samples_*navigate*"))


def read_all(folder: Path) -> list:
    return [scores for task in find_tasks([folder]) for scores in read_scores(task)]


def test_a_run_is_read_back_as_it_was_scored(mini_run: Path) -> None:
    scores = read_all(mini_run)
    assert {(s.subtask, s.filter) for s in scores} == {
        (subtask, name)
        for subtask in ("boolean_expressions", "navigate")
        for name in ("strict-match", "flexible-extract")
    }
    for s in scores:
        ids = [arm.id for arm in s.arms]
        assert s.scores.shape == s.unparsed.shape == (3, len(ids)) == (3, 9)
        assert s.benchmark == "bbh_mini" and s.metric == "exact_match" and not s.limited
        assert s.primary == (s.filter == "flexible-extract")
        by_arm = dict(zip(ids, s.scores.mean(axis=0), strict=True))
        assert by_arm["control"] == by_arm["ea03"] == 1 and by_arm["ea01"] == by_arm["ea02"] == 0
        assert s.unparsed[:, ids.index("ea02")].all() == (s.filter == "flexible-extract")
        assert s.truncated is None


def test_limited_runs_are_known(tmp_path: Path) -> None:
    task = build_task("emo_bbh_mini_attack_navigate", stimuli="ea01")
    (one, _) = read_all(write_run(tmp_path, [task], answers_mini, limit=2))
    assert one.limited and len(one.questions) == 2


def test_a_smaller_repeat_of_a_run_adds_nothing(mini_run: Path, tmp_path: Path) -> None:
    emo = {"stimuli": ["ea01", "ea02", "ea03"]}
    task = build_task("emo_bbh_mini_attack_navigate", **emo)
    small = write_run(tmp_path, [task], answers_mini, limit=1)
    whole = read_runs([mini_run], progress=False)
    both = read_runs([mini_run, small], progress=False)
    assert [s.questions for s in both.scores] == [s.questions for s in whole.scores]
    assert not any(s.limited for s in both.scores)
    assert len(both.remarks) == 1 and "9 scores" in both.remarks[0]


def test_other_data_in_a_file_of_the_same_name_are_refused(mini_run: Path, tmp_path: Path) -> None:
    folder, _, samples = copy(mini_run, tmp_path)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    samples.write_text(
        "".join(json.dumps({**line, "doc_hash": f"{line['doc_id']:064}"}) + "\n" for line in lines)
    )
    with pytest.raises(UserError, match="different questions under number 0"):
        read_runs([mini_run, folder], progress=False)


def test_other_seeds_of_generated_questions_are_other_settings(tmp_path: Path) -> None:
    for seed in (7, 8):
        emo = {"stimuli": "ea01", "questions": 3, "questions_seed": seed}
        task = build_task("emo_calibration_attack", **emo)
        write_run(tmp_path / str(seed), [task], lambda prompt: "True")
    tasks = find_tasks([tmp_path])
    assert sorted(t.settings["questions"] for t in tasks) == [
        "generated, seed 7",
        "generated, seed 8",
    ]


def test_results_named_by_output_path_are_found(mini_run: Path, tmp_path: Path) -> None:
    folder, results, _ = copy(mini_run, tmp_path)
    results.rename(results.with_name(results.name.replace("results_", "mine_")))
    assert len(read_all(folder)) == 4


def test_a_results_file_itself_may_be_named(mini_run: Path) -> None:
    assert len(find_tasks([next(mini_run.rglob("results_*.json"))])) == 2


def torn(results: Path, samples: Path) -> None:
    samples.write_bytes(samples.read_bytes()[:-40])


def empty(results: Path, samples: Path) -> None:
    samples.write_bytes(b"")


def missing(results: Path, samples: Path) -> None:
    samples.unlink()


def broken_results(results: Path, samples: Path) -> None:
    results.write_text("{")


def no_results(results: Path, samples: Path) -> None:
    results.unlink()


def other_samples(results: Path, samples: Path) -> None:
    samples.write_text('{"some": "json"}\n')


def an_arm_gone(results: Path, samples: Path) -> None:
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        del line["exact_match_by_arm"]["ea02"]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))


def a_foreign_arm(results: Path, samples: Path) -> None:
    samples.write_text(samples.read_text().replace('"ea02": 0.0', '"ea99": 0.0', 1))


def text_score(results: Path, samples: Path) -> None:
    samples.write_text(samples.read_text().replace('"ea02": 0.0', '"ea02": "nought"', 1))


def plain_lm_eval(results: Path, samples: Path) -> None:
    content = json.loads(results.read_text())
    for config in content["configs"].values():
        del config["metadata"]["emo"]
    results.write_text(json.dumps(content))


def predict_only(results: Path, samples: Path) -> None:
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        del line["exact_match_by_arm"]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))


def a_line_short(results: Path, samples: Path) -> None:
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:-1]))


def doubled(results: Path, samples: Path) -> None:
    samples.write_text(samples.read_text() * 2)


def without(key: str) -> object:
    def damage(results: Path, samples: Path) -> None:
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        for line in lines:
            del line[key]
        samples.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return damage


def numeric_text_score(results: Path, samples: Path) -> None:
    samples.write_text(samples.read_text().replace('"ea02": 0.0', '"ea02": "0.0"', 1))


def null_response(results: Path, samples: Path) -> None:
    samples.write_text(samples.read_text().replace('["mumble"]', "[null]", 1))


def list_line(results: Path, samples: Path) -> None:
    samples.write_text(samples.read_text() + "[1, 2]\n")


def binary(results: Path, samples: Path) -> None:
    samples.write_bytes(b"\xff\xfe\x00")


def empty_results(results: Path, samples: Path) -> None:
    results.write_text("")


def torn_results(results: Path, samples: Path) -> None:
    results.write_text(results.read_text()[:-40])


def list_results(results: Path, samples: Path) -> None:
    results.write_text("[1, 2]")


def null_results(results: Path, samples: Path) -> None:
    results.write_text("null")


def list_configs(results: Path, samples: Path) -> None:
    results.write_text('{"configs": []}')


def other_schema(results: Path, samples: Path) -> None:
    results.write_text(results.read_text().replace('"schema": 1', '"schema": 99'))


PYTHON = ("object has no attribute", "NoneType", "'list'", "Error(", "codec can't")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (a_line_short, "questions"),
        (doubled, "a second time"),
        (without("doc_hash"), "doc_hash"),
        (without("unparsed"), "unparsed"),
        (numeric_text_score, "odd value"),
        (null_response, "a response that is no text"),
        (list_line, "odd value"),
        (binary, "no UTF-8 text"),
        (empty_results, "an empty file"),
        (torn_results, "no JSON"),
        (list_results, "a JSON list, not the results that lm_eval writes"),
        (null_results, "null, not the results that lm_eval writes"),
        (list_configs, "a JSON list as `configs`"),
        (text_score, "odd value"),
        (other_schema, "schema 99"),
        (torn, "a torn last line"),
        (empty, "an empty file"),
        (missing, "without samples_"),
        (broken_results, "Expecting"),
        (no_results, "without its results file"),
        (other_samples, "no sample of lm_eval's"),
        (an_arm_gone, "no score for ea02 in any question"),
        (a_foreign_arm, "a score under ea99"),
        (plain_lm_eval, "only other tasks"),
        (predict_only, "no scores by arm"),
    ],
)
def test_damaged_runs_are_told(mini_run: Path, tmp_path: Path, damage: object, told: str) -> None:
    folder, results, samples = copy(mini_run, tmp_path)
    damage(results, samples)  # type: ignore[operator]
    with pytest.raises(UserError) as raised:
        read_all(folder)
    assert told in raised.value.found
    assert not any(word in str(raised.value) for word in PYTHON)
    assert "remove" not in raised.value.fix


@pytest.mark.parametrize("damage", [empty_results, torn_results, list_results])
def test_a_folder_s_broken_results_may_be_left_out(
    mini_run: Path, tmp_path: Path, damage: object
) -> None:
    folder, results, samples = copy(mini_run, tmp_path)
    damage(results, samples)  # type: ignore[operator]
    with pytest.raises(UserError) as raised:
        find_tasks([folder])
    assert raised.value.fix == "run again, or leave this file out of the folder"


def test_a_file_that_holds_no_results_is_told_apart(mini_run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (next(mini_run.rglob("samples_*")), tmp_path / "notes.txt"):
        with pytest.raises(UserError) as raised:
            find_tasks([path])
        assert raised.value.fix == "name the results file or its folder"


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_tasks([tmp_path / "nowhere"])


def test_scores_are_floats_and_flags_are_bool(mini_run: Path) -> None:
    for s in read_all(mini_run):
        assert s.scores.dtype == np.float64 and s.unparsed.dtype == bool
