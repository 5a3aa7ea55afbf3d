from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.lm_tasks.arms import arms_of
from emo_harness.lm_tasks.options import read_options


def ids(family: str, **emo: Any) -> list[str]:
    return [arm.id for arm in arms_of(family, read_options({"emo": emo}), f"emo_bbh_{family}")]


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"emo": {"placment": "prefix"}}, "'placment' (nearest: 'placement')"),
        ({"emo": {"placement": "sufix"}}, "placement = 'sufix'"),
        ({"emo": {"stimuli": 3}}, "stimuli"),
        ({"emo": {"questions": 0}}, "questions = 0"),
        ({"emo": {"repeats": 101}}, "repeats = 101"),
        ({"repeats": 3}, "repeats at the top level"),
        ({"emo": "ea01"}, "emo = 'ea01'"),
        ({"stimuli": ["ea01"]}, "stimuli at the top level"),
        ({"Emo": {"stimuli": ["ea01"]}}, "Emo at the top level"),
        ({"emo": {"data_dir": ""}}, "data_dir = ''"),
        ({"placement": "prefix", "emo": {}}, "placement at the top level"),
    ],
)
def test_bad_options_are_told(metadata: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as raised:
        read_options(metadata)
    assert told in raised.value.found


def test_what_lm_eval_mixes_in_is_left_alone() -> None:
    assert read_options({"version": 1, "pretrained": "x", "dtype": "float32"}) == read_options(None)


def test_placebos_by_number_by_name_and_shuffled() -> None:
    assert ids("attack", stimuli="ea01", placebos=2) == [
        "control", "neutral-12", "neutral-25", "self-check", "ea01",
    ]  # fmt: skip
    assert ids("attack", stimuli="ea01", placebos=0) == ["control", "ea01"]
    assert ids("attack", stimuli=["ea01", "ea02"], placebos=["neutral-5", "shuffled"]) == [
        "control", "neutral-5", "shuffled:ea01", "shuffled:ea02", "ea01", "ea02",
    ]  # fmt: skip
    assert "shuffled:ea01" in ids("attack", stimuli=["shuffled:ea01", "ea01"])


@pytest.mark.parametrize(
    ("family", "emo", "told"),
    [
        ("attack", {"placebos": 5}, "placebos = 5"),
        ("attack", {"placebos": -1}, "placebos = -1"),
        ("attack", {"placebos": ["ea01"]}, "not a placebo"),
        ("attack", {"stimuli": ["ea01", "ep02"]}, "several families"),
        ("attack", {"stimuli": "prompt"}, "family prompt"),
        ("negative", {"stimuli": "ea01+ep02"}, "family attack+prompt"),
        ("prompt", {"stimuli": "ea01+neutral-5"}, "family attack"),
        ("attack", {"stimuli": [], "placebos": 0}, "no stimulus and no placebo"),
        ("attack", {"stimuli": ["ea1"]}, "nearest: 'ea01'"),
    ],
)
def test_bad_arms_are_told(family: str, emo: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as raised:
        ids(family, **emo)
    assert told in raised.value.found


def test_own_family_may_be_asked_under_any_task(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nfamily: tone\nstimuli: [{id: t1, text: Hurry up.}]\n")
    assert ids("attack", stimuli=str(path))[-1] == "t1"
    assert ids("prompt", stimuli="Hurry up now.")[-1].startswith("own-")
    assert ids("prompt", stimuli=["ep02", "ep02+ep07"])[-2:] == ["ep02", "ep02+ep07"]


def own_set(tmp_path: Path, content: str) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(content)
    return str(path)


def test_no_two_arms_share_an_id_and_control_is_nobodys(tmp_path: Path) -> None:
    control = own_set(tmp_path, "name: own\nfamily: own\nstimuli: [{id: control, text: Oh dear.}]")
    with pytest.raises(UserError, match="reserved"):
        ids("attack", stimuli=control)
    same = own_set(tmp_path, "name: own\nfamily: own\nstimuli: [{id: neutral-12, text: Oh dear.}]")
    with pytest.raises(UserError, match="two different arms called neutral-12"):
        ids("attack", stimuli=same)


def test_after_a_file_its_ids_come_first(tmp_path: Path) -> None:
    path = own_set(tmp_path, "name: own\nfamily: attack\nstimuli: [{id: ea01, text: Oh dear.}]")
    options = read_options({"emo": {"stimuli": [path, "ea01+ea02"], "placebos": 0}})
    texts = [a.stimulus.text for a in arms_of("attack", options, "t") if a.stimulus]
    assert texts == ["Oh dear.", "Oh dear. Your friend Bob is dead."]


def test_joined_placebos_are_a_placebo() -> None:
    options = read_options({"emo": {"stimuli": ["neutral-5+neutral-12", "ea01"], "placebos": 0}})
    kinds = {a.id: a.kind for a in arms_of("attack", options, "t")}
    assert kinds["neutral-5+neutral-12"] == "placebo"
    options = read_options({"emo": {"stimuli": ["neutral-5+ea01"], "placebos": 0}})
    assert arms_of("attack", options, "t")[-1].kind == "stimulus"


def test_placebos_are_named_as_stimuli_are(tmp_path: Path) -> None:
    path = own_set(tmp_path, "name: own\nfamily: tone\nstimuli: [{id: t1, text: Hurry up now.}]")
    assert ids("attack", stimuli=path, placebos=["shuffled:t1", "neutral-5"]) == [
        "control", "shuffled:t1", "neutral-5", "t1",
    ]  # fmt: skip
    placebos = tmp_path / "placebos.yaml"
    placebos.write_text(
        "name: p\nfamily: placebo\nstimuli: [{id: p1, text: Six.}, {id: p2, text: Two.}]"
    )
    assert ids("attack", stimuli="ea01", placebos=[str(placebos), "p2+p1"]) == [
        "control", "p1", "p2", "p2+p1", "ea01",
    ]  # fmt: skip


def test_a_placebo_joined_to_stimuli_stays_in_their_family() -> None:
    assert ids("attack", stimuli=["attack", "ea01+neutral-5"])[-1] == "ea01+neutral-5"
