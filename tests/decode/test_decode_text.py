"""From tokens to a text that can be a stimulus, and which of them come back from it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from emo_harness.decode.meta_text import (
    MetaText,
    best_tokens_text,
    position_text,
    shuffled_text,
)
from emo_harness.decode.vocabulary import REPLACEMENT, Vocabulary
from emo_harness.stimuli import MAX_TEXT_CHARACTERS, StimulusEntry
from tests.lm_models.local_models import tokenizer, word_tokenizer


@cache
def vocabulary() -> Vocabulary:
    """Of the byte-level BPE tokenizer."""
    return Vocabulary(tokenizer())


def ids_of(*texts: str) -> list[int]:
    """Single tokens by their text, with the space before them."""
    known = {vocabulary().token(i).text: i for i in range(len(tokenizer()))}
    return [known[text] for text in texts]


def bytes_of(text: str) -> list[int]:
    """The tokens of single bytes."""
    return tokenizer()(text, add_special_tokens=False).input_ids


def best(ids: list[int], length: int = 8, unprintable: Any = "skip") -> MetaText:
    return best_tokens_text(ids, length, vocabulary(), unprintable)


def test_a_token_reads_as_it_does_behind_another() -> None:
    for text in ("The box", "key", "sick."):
        ids = tokenizer()(f"a {text}", add_special_tokens=False).input_ids
        told = "".join(vocabulary().token(i).text for i in ids)
        assert told == f"a {text}"


@pytest.mark.parametrize("token", ["<s>", "</s>"])
def test_special_tokens_are_none_of_a_text(token: str) -> None:
    one = vocabulary().token(tokenizer().convert_tokens_to_ids(token))
    assert one.special
    assert best([one.id, *ids_of(" step")]).text == "step"


def test_an_added_token_written_as_markup_is_special_to_the_reader() -> None:
    words = word_tokenizer(5)
    words.add_tokens(["<think>", "grief"])
    own = Vocabulary(words)
    by_text = {own.token(i).text.strip(): own.token(i) for i in range(len(words))}
    assert by_text["<think>"].special and not by_text["grief"].special


def test_pieces_do_not_add_up_to_a_special_token() -> None:
    pieces = ids_of("<", "s", ">")
    assert best(pieces).text == "<s"
    assert "<s>" not in position_text([[i] for i in pieces], vocabulary(), "skip").text
    again = tokenizer()(best([*pieces, *ids_of(" step")]).text, add_special_tokens=False).input_ids
    assert not set(again) & set(tokenizer().all_special_ids)


def test_control_characters_and_white_space_never_stand_in_a_text() -> None:
    controls = [i for c in "\n\t\x00\x1b\x7f\x85" for i in bytes_of(c)]
    spaces = ids_of(" ")
    found = best([*controls, *spaces, *ids_of(" the")], unprintable="show")
    assert found.text == "the" or REPLACEMENT in found.text
    assert StimulusEntry(id="x", text=best([*controls, *spaces, *ids_of(" the")]).text)
    for i in [*bytes_of("\n"), *spaces]:
        assert not vocabulary().token(i).printable


def test_half_characters_give_way_or_are_shown_as_a_sign() -> None:
    first, *_ = bytes_of("日")[:1]
    one = vocabulary().token(first)
    assert not one.whole and not one.printable and one.visible
    ids = [first, *ids_of(" step")]
    assert best(ids, 1).text == "step"
    shown = best(ids, 2, "show")
    assert REPLACEMENT in shown.text and shown.text.endswith("step")
    assert shown.survives[0] is False
    assert StimulusEntry(id="x", text=shown.text)


def test_halves_that_meet_make_a_character_but_no_control_character() -> None:
    halves = bytes_of("日")
    assert len(halves) > 1
    assert best(halves, 8, "show").text == "日"
    nel = bytes_of("\x85")
    assert "\x85" not in best([*nel, *ids_of(" the")], 8, "show").text


def test_a_number_beyond_the_tokenizer_has_no_text() -> None:
    padding = vocabulary().token(len(tokenizer()) + 7)
    assert padding.text == "" and not padding.printable
    assert best([padding.id, *ids_of(" the")]).text == "the"


def test_the_next_best_takes_the_place() -> None:
    newline = bytes_of("\n")[0]
    found = best([newline, *ids_of(" step", " the", " is")], 2)
    assert [token.text for token in found.tokens] == [" step", " the"]
    assert found.places == ((0, 1), (0, 2))
    by_position = position_text(
        [[newline, *ids_of(" step")], ids_of(" the", " step")], vocabulary(), "skip"
    )
    assert by_position.text == "step the" and by_position.places == ((0, 1), (1, 0))


def test_tokens_survive_where_the_text_has_them_again() -> None:
    whole = tokenizer()("True or False step", add_special_tokens=False).input_ids
    assert all(vocabulary().survivors(whole, "True or False step"))
    letters = [tokenizer().convert_tokens_to_ids(c) for c in "true"]
    merged = tokenizer()("true", add_special_tokens=False).input_ids
    assert len(merged) < 4
    found = best(letters, 4)
    assert found.text == "true"
    assert set(found.lost) >= {i for i, one in enumerate(letters) if one not in merged}
    assert found.lost


def test_a_first_word_loses_the_space_before_it() -> None:
    found = best(ids_of(" step", " the"), 2)
    assert found.text == "step the"
    assert found.survives == (False, True)


@pytest.mark.parametrize("seed", range(20))
def test_survivors_are_a_longest_common_subsequence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, len(tokenizer()), 12).tolist()
    text = vocabulary().text(ids)
    again = tokenizer()(text, add_special_tokens=False).input_ids
    survives = vocabulary().survivors(ids, text)
    kept = [i for i, does in zip(ids, survives, strict=True) if does]
    places = iter(again)
    assert all(i in places for i in kept), "in their order"
    assert len(kept) == _longest(tuple(ids), tuple(again))


@cache
def _longest(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + _longest(one[1:], other[1:])
    return max(_longest(one[1:], other), _longest(one, other[1:]))


def test_shuffling_keeps_the_words() -> None:
    found = best(ids_of(" step", " the", " is", "s", " or"))
    assert found.text == "step the iss or"
    mixed = shuffled_text(found, vocabulary(), np.random.default_rng(0))
    assert mixed is not None
    assert sorted(mixed.text.split()) == sorted(found.text.split())
    assert mixed.text != found.text
    assert sorted(t.id for t in mixed.tokens) == sorted(t.id for t in found.tokens)
    assert len(mixed.survives) == len(mixed.tokens)


def test_of_one_word_the_tokens_are_shuffled() -> None:
    found = best(ids_of(" step", "s", "ck"))
    assert " " not in found.text
    mixed = shuffled_text(found, vocabulary(), np.random.default_rng(0))
    assert mixed is not None and mixed.text != found.text
    assert sorted(mixed.text.replace(" ", "")) == sorted(found.text)


def test_what_has_no_other_order_is_not_shuffled() -> None:
    rng = np.random.default_rng(0)
    for ids in (ids_of(" step"), ids_of(" step", " step", " step")):
        found = position_text([[i] for i in ids], vocabulary(), "skip")
        assert shuffled_text(found, vocabulary(), rng) is None


def test_a_text_is_no_longer_than_a_stimulus_may_be() -> None:
    found = position_text([ids_of(" step")] * 1200, vocabulary(), "skip")
    assert MAX_TEXT_CHARACTERS - 5 < len(found.text) <= MAX_TEXT_CHARACTERS
    assert StimulusEntry(id="x", text=found.text)


def test_nothing_usable_gives_no_text() -> None:
    assert best(tokenizer().all_special_ids).text == ""
    assert position_text([tokenizer().all_special_ids], vocabulary(), "skip").tokens == ()


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("unprintable", ["skip", "show"])
def test_whatever_is_decoded_can_be_a_stimulus(seed: int, unprintable: Any) -> None:
    ids = np.random.default_rng(seed).integers(0, len(tokenizer()) + 5, 40).tolist()
    found = best(ids, 12, unprintable)
    entry = StimulusEntry(id="x", text=found.text)
    assert entry.text == found.text
    assert (unprintable == "show") or REPLACEMENT not in found.text
    read = tokenizer()(found.text, add_special_tokens=False).input_ids
    assert not set(read) & set(tokenizer().all_special_ids)
