from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.runs import ArmScores, RunsRead, read_answers, read_runs
from tests.conftest import answers_mini, build_task, write_run
from tests.runs.made_runs import made_run

# Asked four times, ea01 is answered right once, all others three times.
RIGHT_TIMES = {"ea01": 1}


def read(folder: Path) -> RunsRead:
    return read_runs([folder], progress=False)


def by_filter(result: RunsRead, subtask: str) -> dict[str, ArmScores]:
    return {s.filter: s for s in result.scores if s.subtask == subtask}


def sampling(right: Callable[[str], str], n_repeats: int) -> Callable[[str], str]:
    """Answers that change from repeat to repeat: right first, and mostly, but for ea01."""
    asked: dict[str, int] = {}

    def answer(prompt: str) -> str:
        n = asked[prompt] = asked.get(prompt, -1) + 1
        n_right = 1 if "Your friend Bob is sick." in prompt else n_repeats - 1
        plain = prompt.replace("Your friend Bob is sick.", "")
        if n % n_repeats < n_right:
            return right(plain)
        return "mumble"

    return answer


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subtasks run by lm-eval itself; each prompt is asked four times."""
    emo: dict[str, Any] = {"stimuli": ["ea01", "ea03"], "placebos": 1, "repeats": 4}
    names = ("boolean_expressions", "navigate")
    tasks = [build_task(f"emo_bbh_mini_attack_{name}", **emo) for name in names]
    folder = tmp_path_factory.mktemp("sampled")
    return write_run(
        folder, tasks, sampling(answers_mini, 4), gen_kwargs="do_sample=true,temperature=0.7"
    )


@pytest.mark.parametrize("subtask", ["boolean_expressions", "navigate"])
@pytest.mark.parametrize("filter_name", ["strict-match", "flexible-extract"])
def test_scores_are_means_over_all_responses(sampled: Path, subtask: str, filter_name: str) -> None:
    one = by_filter(read(sampled), subtask)[filter_name]
    ids = [arm.id for arm in one.arms]
    expected = np.array([RIGHT_TIMES.get(i, 3) / 4 for i in ids])
    assert one.n_repeats == 4 and one.within_variance is not None
    assert np.array_equal(one.scores, np.tile(expected, (3, 1)))
    # Four draws of a 0/1 score with share p have variance p (1 - p) 4 / 3.
    assert one.within_variance == pytest.approx(np.tile(expected * (1 - expected) * 4 / 3, (3, 1)))
    assert one.settings["repeats"] == "4" and one.settings["temperature"] == "0.7"


def test_lm_eval_logs_the_first_response_alone(sampled: Path) -> None:
    """What makes scoring again necessary; `unparsed` is told of the first response too."""
    for path in sampled.rglob("samples_*"):
        for sample in map(json.loads, path.read_text().splitlines()):
            assert all(len(responses) == 4 for responses in sample["resps"])
            assert set(sample["exact_match_by_arm"].values()) == {1.0}
    assert not any(s.unparsed.any() for s in read(sampled).scores)


def test_responses_and_lengths_are_those_of_all_repeats(sampled: Path) -> None:
    one = by_filter(read(sampled), "navigate")["flexible-extract"]
    (answer,) = read_answers(one.lines[:1])
    responses = answer.responses["ea03"]
    assert len(responses) == 4 and responses[3] == "mumble"
    column = [arm.id for arm in one.arms].index("ea03")
    assert one.answer_chars[0, column] == sum(map(len, responses)) / 4


def test_upstreams_own_filter_functions_are_found_again(tmp_path: Path) -> None:
    """The log can only name them: `<class '...MultiChoiceRegexFilter'>`."""
    from emo_harness.benchmarks import bbh_mini

    rows = bbh_mini.questions("snarks").rows or []

    def right(prompt: str) -> str:
        target = next(r["target"] for r in rows if f"Q: {r['input']}\n" in prompt)
        return f"I think it is {target.lower()} or so: {target}"

    task = build_task("emo_bbh_mini_attack_snarks", stimuli=["ea01"], placebos=1, repeats=4)
    write_run(tmp_path, [task], sampling(right, 4))
    assert "MultiChoiceRegexFilter" in next(tmp_path.rglob("results_*")).read_text()
    result = read(tmp_path)
    one = by_filter(result, "snarks")["flexible-extract"]
    column = [arm.id for arm in one.arms].index("ea01")
    assert one.scores[:, column].tolist() == [0.25] * len(rows)
    assert one.scores[:, 0].tolist() == [0.75] * len(rows) and result.remarks == []


def repeated(folder: Path, **changes: Any) -> Path:
    """Three responses: right, wrong, wrong."""
    answers = ["Yes", "No", "No"]
    declared = {"repeats": 3, **changes.pop("declared", {})}
    changes = {"answer": lambda q, arm: answers, "declared": declared, **changes}
    return made_run(folder, **changes)


def test_a_first_response_that_scores_otherwise_than_logged_is_refused(tmp_path: Path) -> None:
    repeated(tmp_path, score=lambda q, arm: float(arm != "ea02"))
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    assert "1 for the first response under ea02, logged is 0" in raised.value.found


@pytest.mark.parametrize(
    "declared",
    [
        {"metric_list": [{"metric": "def exact_match(x): ..."}]},
        {"metric_list": [{"metric": "exact_match", "no_such_argument": 1}]},
        {
            "filter_list": [
                {"name": name, "filter": [{"function": "<class 'mine.Filter'>"}]}
                for name in ("strict-match", "flexible-extract")
            ]
        },
    ],
)
def test_what_cannot_be_applied_again_is_told_and_the_first_response_stands(
    tmp_path: Path, declared: dict[str, Any]
) -> None:
    result = read(repeated(tmp_path, declared=declared))
    assert all((s.scores == 1).all() and s.within_variance is None for s in result.scores)
    assert any("of the first response alone" in remark for remark in result.remarks)


def test_repeats_that_never_differ_are_told(tmp_path: Path) -> None:
    repeated(tmp_path, answer=lambda q, arm: ["Yes"] * 3)
    (remark,) = read(tmp_path).remarks
    assert "All 3 responses to each prompt are the same" in remark


def test_a_missing_score_stays_unknown_over_repeats(tmp_path: Path) -> None:
    repeated(tmp_path, score=lambda q, arm: "absent" if (q, arm) == ("b", "ea01") else 1.0)
    one = read(tmp_path).scores[0]
    assert np.argwhere(np.isnan(one.scores)).tolist() == [[1, 2]]
    assert one.scores[0] == pytest.approx(1 / 3)


def test_responses_that_are_too_few_are_told(tmp_path: Path) -> None:
    repeated(tmp_path, answer=lambda q, arm: ["Yes"] * (2 if q == "c" else 3))
    with pytest.raises(UserError, match="not of 3 responses"):
        read(tmp_path)


def test_a_batch_boundary_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_harness.runs import repeats

    repeated(tmp_path, questions=[str(i) for i in range(7)])
    monkeypatch.setenv("EMO_HARNESS_CACHE", str(tmp_path / "a"))
    whole = read(tmp_path).scores
    monkeypatch.setattr(repeats, "QUESTIONS_AT_A_TIME", 2)
    monkeypatch.setenv("EMO_HARNESS_CACHE", str(tmp_path / "b"))
    for one, other in zip(whole, read(tmp_path).scores, strict=True):
        assert np.array_equal(one.scores, other.scores) and one.scores.shape == (7, 4)
