"""Word sets, and the tokens by which their words are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_harness.errors import UserError
from emo_harness.steer.word_sets import WordSets, first_tokens, load_word_sets
from tests.lm_models.local_models import tokenizer, word_tokenizer


def test_shipped_sets_have_two_sides_that_share_no_word() -> None:
    for dimension in ("valence", "arousal"):
        sets = load_word_sets(None, dimension)
        assert len(sets.positive) >= 30 and len(sets.negative) >= 30
        assert len(set(sets.positive)) == len(sets.positive)
        assert len(set(sets.negative)) == len(sets.negative)
    assert load_word_sets(None, "dominance") == load_word_sets(None, "valence")


def test_first_tokens_are_those_that_follow_a_text() -> None:
    words = word_tokenizer(8)
    found = first_tokens(WordSets(positive=["w1", "w2"], negative=["w3"]), words)
    assert [words.decode([t]) for t in (*found.positive, *found.negative)] == ["w1", "w2", "w3"]
    assert found.shared == () and found.left_out == ()


def test_a_token_that_begins_words_of_both_sets_counts_for_neither() -> None:
    words = tokenizer()
    sets = WordSets(positive=["door", "box"], negative=["domino", "friend"])
    found = first_tokens(sets, words)
    assert not set(found.positive) & set(found.negative)
    for word in found.left_out:
        assert word in (*sets.positive, *sets.negative)
    starts = {words.encode(f" {word}")[0] for word in ("door", "domino")}
    if len(starts) == 1:
        assert set(found.left_out) == {"door", "domino"}


def test_unknown_words_begin_with_no_token_of_their_own() -> None:
    words = word_tokenizer(4)
    words.add_special_tokens({"unk_token": "</s>"})
    found = first_tokens(WordSets(positive=["w1", "never"], negative=["w2"]), words)
    assert found.left_out == ("never",) and len(found.positive) == 1


@pytest.mark.parametrize("negative", [["never"], ["w1"]])
def test_a_set_without_a_token_of_its_own_is_refused(negative: list[str]) -> None:
    words = word_tokenizer(4)
    words.add_special_tokens({"unk_token": "</s>"})
    with pytest.raises(UserError, match="first tokens of the"):
        first_tokens(WordSets(positive=["w1"], negative=negative), words)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("positive: [a]\nnegative: [a]\n", "in both sets"),
        ("positive: []\nnegative: [a]\n", "positive"),
        ("positive: [1]\nnegative: [a]\n", "positive"),
        ("positive: [a]\n", "no 'negative'"),
        ("arousal: {positive: [a], negative: [b]}\n", "sets for arousal"),
        ("- a\n", "no mapping"),
        ("positive: [a\n", "expected"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, written: str, told: str) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(written)
    with pytest.raises(UserError, match=told):
        load_word_sets(path, "valence")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_word_sets(tmp_path / "none.yaml", "valence")


def test_own_sets_may_be_alone_or_by_dimension(tmp_path: Path) -> None:
    alone, named = tmp_path / "alone.yaml", tmp_path / "named.yaml"
    alone.write_text("positive: [a]\nnegative: [b]\n")
    named.write_text("valence: {positive: [a], negative: [b]}\n")
    assert load_word_sets(alone, "x") == load_word_sets(named, "valence")
