"""How a decoded arm was made, as runs record it and give it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.runs import RunArm, RunsRead, read_runs
from emo_harness.stimuli import Decoding
from tests.lm_tasks.decoded_sets import decoding, meta_entries
from tests.runs.made_runs import ARMS, made_run

LATER = "2026-01-02T00-00-00.000000"
META = {"id": "decoded-prompt-l03", "kind": "stimulus", "family": "decoded", "text": "heart lamp"}


def arms_of_entries(layers: tuple[int, ...]) -> list[dict[str, Any]]:
    """As a task records a decoded set's arms."""
    made = []
    for entry in meta_entries(layers):
        is_control = "placebo" in entry
        made.append(
            {
                **{key: entry[key] for key in ("id", "text", "decoded")},
                "kind": "placebo" if is_control else "stimulus",
                "family": "placebo" if is_control else "decoded",
                **({"placebo": "decoded"} if is_control else {}),
            }
        )
    return [*ARMS[:2], *made]


def read_arm(folder: Path, decoded: Any) -> RunArm:
    arms = [*ARMS[:2], {**META, "decoded": decoded}]
    (scores,) = (s for s in read_runs([made_run(folder, arms=arms)], progress=False).scores[:1])
    return scores.arms[-1]


def test_an_arm_reads_back_with_lists_as_tuples_and_a_family_for_each_source(
    tmp_path: Path,
) -> None:
    made = decoding("attack", 3, tokens=["he", "art", "lamp"], lost=[0, 1])
    arm = read_arm(tmp_path, made)
    assert arm.decoded == Decoding.model_validate(made)
    assert arm.decoded is not None and arm.decoded.lost == (0, 1)
    assert arm.family == "decoded-attack" and arm.placebo is None


def test_runs_from_before_there_were_decoded_arms_read_as_they_did(tmp_path: Path) -> None:
    read_back = read_runs([made_run(tmp_path)], progress=False).scores[0]
    assert [a.family for a in read_back.arms] == ["control", "placebo", "attack", "attack"]
    assert all(a.decoded is None for a in read_back.arms)
    assert read_arm(tmp_path / "decoded", None).family == "decoded"


@pytest.mark.parametrize(
    "changed",
    [
        {"layer": None},
        {"layer": "3"},
        {"layer": 40},
        {"kind": "other"},
        {"source": 3},
        {"tokens": "heart"},
        {"tokens": [1]},
        {"lost": [99]},
        {"overlap": 7.0},
        {"a key of a later version": 1},
    ],
)
def test_a_damaged_decoding_is_told_with_file_and_task(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    with pytest.raises(UserError) as raised:
        read_arm(tmp_path, {**decoding("prompt", 3), **changed})
    told = raised.value
    assert "emo_bbh_attack_navigate" in told.doing and "results_" in told.doing
    assert "decoded" in told.found and "run the task again" in told.fix


@pytest.mark.parametrize("raw", ["words", 3, [], True])
def test_a_decoding_that_is_no_mapping_is_told(tmp_path: Path, raw: Any) -> None:
    with pytest.raises(UserError, match="decoded"):
        read_arm(tmp_path, raw)


def test_two_runs_of_many_decoded_arms_are_united_layer_by_layer(tmp_path: Path) -> None:
    def score(question: str, arm: str) -> float:
        return float(len(question + arm) % 2)

    first, second = arms_of_entries(tuple(range(8))), arms_of_entries(tuple(range(6, 14)))
    made_run(tmp_path / "a", arms=first, score=score)
    made_run(tmp_path / "b", arms=second, score=score, date=LATER)
    one = read_runs([tmp_path], progress=False).scores[0]
    assert len(one.arms) == 2 + 14 * 9 and not np.isnan(one.scores).any()
    for column, arm in enumerate(one.arms[2:], start=2):
        assert arm.decoded is not None and f"-l{arm.decoded.layer:02}" in arm.id
        expected = [score(question, arm.id) for question in "abc"]
        assert one.scores[:, column].tolist() == expected


def two_runs(folder: Path, **changed: Any) -> RunsRead:
    """Runs of one task by one model, with other words under one id."""
    first = decoding("prompt", 3)
    for name, text, date, made in (
        ("a", "heart lamp", "2026-01-01T00-00-00.000000", first),
        ("b", "winter voice", LATER, {**first, **changed}),
    ):
        made_run(
            folder / name, arms=[*ARMS[:2], {**META, "text": text, "decoded": made}], date=date
        )
    return read_runs([folder], progress=False)


def test_other_words_of_one_decoding_under_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="decoded-prompt-l03"):
        two_runs(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "org/another"},
        {"site": "value"},
        {"pooling": "mean"},
        {"decoder": "nearest"},
        {"vector": "mean"},
    ],
)
def test_decodings_made_in_another_way_stand_side_by_side_and_are_not_merged(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    read_back = two_runs(tmp_path, **changed)
    assert read_back.remarks == []
    texts = {s.arms[-1].text for s in read_back.scores}
    assert texts == {"heart lamp", "winter voice"}
