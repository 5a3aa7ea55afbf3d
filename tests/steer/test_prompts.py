"""Prompts: files, the shipped corpus, and where continuations are scored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from emo_harness.errors import UserError
from emo_harness.steer.prompts import (
    SteeredPrompt,
    prompts_of_corpus,
    read_prompts,
    start_of,
    starts,
)


def corpus() -> pd.DataFrame:
    rows = [
        {
            "text": f"{'not ' if negation else ''}{word} in {template}",
            "template": template,
            "negation": negation,
            "valence": pole,
        }
        for template in range(5)
        for negation in (False, True)
        for word, pole in (("good", 1), ("fine", 1), ("bad", -1), ("plain", 0), ("odd", None))
    ]
    return pd.DataFrame(rows).astype({"valence": "Int8"})


def test_lines_of_text_are_neutral_prompts(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("One day Ann \n\nThe dog\n")
    found = read_prompts(path)
    assert [(one.text, one.pole) for one in found] == [("One day Ann", 0), ("The dog", 0)]


def test_json_lines_have_classes_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a", "class": "positive", "group": 1}\n{"text": "b"}\n')
    assert read_prompts(path) == [
        SteeredPrompt("a", 1, "1"),
        SteeredPrompt("b", 0, "line 2"),
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("p.txt", ""),
        ("p.txt", b"\xff\xfe\xff"),
        ("p.jsonl", "no json\n"),
        ("p.jsonl", '{"text": ""}\n'),
        ("p.jsonl", '{"text": " "}\n'),
        ("p.jsonl", '{"class": "positive"}\n'),
        ("p.jsonl", '{"text": "a", "class": "good"}\n'),
        ("p.jsonl", '["a"]\n'),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, written: str | bytes) -> None:
    path = tmp_path / name
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(UserError, match=name):
        read_prompts(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        read_prompts(tmp_path / "none.txt")


def test_corpus_prompts_are_triples_of_templates_without_negation() -> None:
    found = prompts_of_corpus(corpus(), "valence", 3, seed=0)
    assert len({one.group for one in found}) == 3
    for group in {one.group for one in found}:
        own = [one for one in found if one.group == group]
        assert sorted(one.pole for one in own) == [-1, 0, 1]
        assert not any(one.text.startswith("not") for one in own)
    assert found == prompts_of_corpus(corpus(), "valence", 3, seed=0)
    assert len(prompts_of_corpus(corpus(), "valence", 99, seed=0)) == 15


def test_a_dimension_without_both_poles_is_refused() -> None:
    with pytest.raises(UserError, match="arousal"):
        prompts_of_corpus(corpus(), "arousal", 3, seed=0)
    table = corpus()
    with pytest.raises(UserError, match="both poles"):
        prompts_of_corpus(table[table["valence"] != -1], "valence", 3, seed=0)


def test_continuations_of_both_classes_are_scored_after_one_beginning() -> None:
    own = [
        SteeredPrompt("n", 0, "a"),
        SteeredPrompt("p", 1, "a"),
        SteeredPrompt("m", -1, "a"),
        SteeredPrompt("q", 1, "b"),
    ]
    assert start_of(own) == [0, 0, 0, 3]
    assert starts(own) == [0]
    assert starts(own[1:]) == [0, 1, 2]
