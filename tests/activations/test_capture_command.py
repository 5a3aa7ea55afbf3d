"""`emo probe capture`: prompts from files, corpora and runs, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emo_harness.activations.store import open_activations
from emo_harness.activations.texts import read_texts
from emo_harness.cli.layers import layers_of
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from tests.lm_models.local_models import saved


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The prompts of a run are longer than the models of other tests allow.
    return saved(tmp_path_factory.mktemp("model"), "llama", max_position_embeddings=4096)


def told(*arguments: object) -> Any:
    """What a command says; a user's mistake is raised."""
    done = CliRunner().invoke(app, ["probe", "capture", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_texts_of_a_file(model: Path, tmp_path: Path) -> None:
    texts = tmp_path / "mine.txt"
    texts.write_text("The key is true\n\nThe room\nThe key is true\n", "utf-8")
    out = tmp_path / "out"
    said = told("--model", model, "--texts", texts, "--out", out)
    assert "rows      3" in said
    assert f"wrote {out}" in said
    assert "nothing new" in told("--model", model, "--texts", texts, "--out", out)
    index = open_activations(out).index.sort_values("prompt")
    assert index["text"].tolist() == ["The key is true", "The room", "The key is true"]


def test_texts_with_spans_and_facts(model: Path, tmp_path: Path) -> None:
    texts = tmp_path / "mine.jsonl"
    rows = [
        {"prompt": "You are sick today", "span": "sick", "tag": "low", "id": 1},
        {"text": "key to key", "span_first": 7, "span_last": 10, "tag": "high", "id": 2},
    ]
    texts.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    arguments = ("--model", model, "--texts", texts, "--out", tmp_path / "out")
    chosen = ("--position", "span", "--sites", "resid_post,key", "--layers", "0-1", "--json")
    said = json.loads(told(*arguments, *chosen))
    assert said["rows"] == 2
    assert said["shapes"] == {"resid_post": [32], "key": [2, 8]}
    assert said["computed_tokens"] == said["distinct_tokens"] <= said["naive_tokens"]
    index = open_activations(tmp_path / "out").index.set_index("id")
    assert index["tag"].to_dict() == {1: "low", 2: "high"}
    assert index["token"][2] == index["n_tokens"][2] - 1


def test_the_corpus_of_two_files(model: Path, tmp_path: Path) -> None:
    adjectives, templates = tmp_path / "words.json", tmp_path / "sentences.json"
    adjectives.write_text(json.dumps({"valence_bad": ["sick", "sad"], "valence_good": ["calm"]}))
    sentences = [("Bob is {} so he", False), ("Bob is not {} so he", True)]
    templates.write_text(
        json.dumps([{"prompt_template": t, "note": "", "negation": n} for t, n in sentences])
    )
    named = ("--adjectives", adjectives, "--templates", templates)
    said = json.loads(told("--model", model, *named, "--out", tmp_path / "out", "--json"))
    assert said["rows"] == 6
    store = open_activations(tmp_path / "out")
    assert store.manifest.corpus["kind"] == "emo-llm"
    assert store.span_embeddings() is not None


def test_the_prompts_of_a_run(model: Path, mini_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = ("--tasks", "navigate", "--arms", "control,ea02", "--questions", "1")
    told("--model", model, "--run", mini_run, *chosen, "--out", out)
    store = open_activations(out)
    assert sorted(store.index["arm"]) == ["control", "ea02"]
    assert store.manifest.corpus["kind"] == "run"
    assert len(store.manifest.corpus["sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--texts", "a.txt", "--run", "runs"], "--texts and --run"),
        (["--texts", "a.txt", "--arms", "control"], "--arms without --run"),
        (["--layers", "3-1"], "reading layers"),
        (["--layers", "first"], "reading layers"),
        (["--texts", "missing.txt"], "No such file"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(arguments: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        told("--model", "nowhere", "--out", "out", *arguments)


def test_layers_are_numbers_and_ranges() -> None:
    assert layers_of("0,3, 6-8") == [0, 3, 6, 7, 8]
    assert layers_of("all") is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"text": 3}', "no text"),
        ('{"words": "a"}', "no text"),
        ("[1]", "list, no object"),
        ("{", "no JSON"),
        ('{"text": "a key", "span": "box"}', "which is not in"),
        ('{"text": "key to key", "span": "key"}', "which is 2 times in"),
        ('{"text": "a key", "span": ""}', "words of the text"),
        ('{"text": "a key", "span_first": 2}', "one of span_first and span_last"),
        ('{"text": "a key", "span_first": 2.5, "span_last": 5}', "span_first = 2.5"),
        ("", "no prompts"),
    ],
)
def test_odd_lines_are_told(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(UserError, match=expected):
        read_texts(path)
