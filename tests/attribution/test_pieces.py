"""Pieces join to the prompt, and nothing that tokens say is lost or counted twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.attribution.pieces import cut, pieces_of, plain_word
from tests.lm_models.local_models import CHAT_TEMPLATE, tokenizer

PROMPT = "Q: Is it  true?\nYou failed again, naïve 日本語。 🙂🙃.\nA:"
STIMULUS = (16, 48)
TEXTS = st.text(st.sampled_from("ab .,\n\t(é日本🙂<s>/"), max_size=40)


class Slow:
    """The same tokenizer, without telling where its tokens lie."""

    is_fast = False

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)


def words(adds_bos: bool = False) -> Any:
    return tokenizer(adds_bos)


def owners(found: Any) -> list[tuple[str, str]]:
    return [(found.pieces[i].text, found.pieces[i].role) for i in found.places]


@given(TEXTS, st.data())
def test_pieces_join_to_the_text_and_keep_the_stimulus_apart(text: str, data: Any) -> None:
    first = data.draw(st.integers(0, len(text)))
    after = data.draw(st.integers(first, len(text)))
    pieces = cut(text, ["<s>"], (first, after))
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text == text[piece.first : piece.after] and piece.text for piece in pieces)
    for piece in pieces:
        assert (piece.role == "space") == (piece.text.isspace())
        assert (piece.role == "special") == (piece.text == "<s>")
        if piece.is_word:
            assert (piece.role == "stimulus") == (first <= piece.first and piece.after <= after)
            assert not any(character.isspace() for character in piece.text)


@given(TEXTS)
@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_sum_over_pieces_is_the_sum_over_tokens(
    is_fast: bool, adds_bos: bool, text: str
) -> None:
    own = words(adds_bos)
    ids = own(text)["input_ids"]
    scores = np.random.default_rng(len(text)).normal(size=len(ids))
    found = pieces_of(own if is_fast else Slow(own), text, ids, (0, len(text) // 2))
    assert len(found.places) == len(ids)
    assert "".join(piece.text for piece in found.pieces) == text
    sums = found.sums(scores)
    assert np.nansum(sums) == pytest.approx(scores.sum(), abs=1e-12)
    assert (np.diff(found.places) >= 0).all()
    has_token = np.isin(np.arange(len(found.pieces)), found.places)
    np.testing.assert_array_equal(np.isnan(sums), ~has_token)


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_every_token_belongs_to_the_word_it_is_a_part_of(is_fast: bool, adds_bos: bool) -> None:
    own = words(adds_bos)
    # Of other scripts, some tokens are parts of two characters.
    text = PROMPT.replace("日本語。 🙂🙃", "café")
    ids = own(text)["input_ids"]
    found = pieces_of(own if is_fast else Slow(own), text, ids, STIMULUS)
    by_piece: dict[int, list[int]] = {}
    for token, place in zip(ids, found.places, strict=True):
        by_piece.setdefault(place, []).append(token)
    for place, tokens in by_piece.items():
        piece = found.pieces[place]
        if piece.role == "special":
            assert adds_bos and own.decode(tokens) == "<s>" and piece.text == ""
        else:
            # A token may bring the space before its word along.
            assert own.decode(tokens).strip() == piece.text.strip()


def test_scripts_without_spaces_are_cut_at_every_character() -> None:
    stimulus = [piece.text for piece in cut(PROMPT, (), STIMULUS) if piece.role == "stimulus"]
    assert stimulus == ["You", "failed", "again,", "naïve", "日", "本", "語。", "🙂🙃."]


def test_fast_and_slow_tokenizers_agree() -> None:
    text = PROMPT.replace("日本語。 ", "")
    for adds_bos in (True, False):
        own = words(adds_bos)
        ids = own(text)["input_ids"]
        fast, slow = (pieces_of(one, text, ids, STIMULUS) for one in (own, Slow(own)))
        assert owners(fast) == owners(slow)


def test_sentencepiece_s_mark_of_a_space_goes_to_its_word(stories_model: Any) -> None:
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(stories_model)
    text = "Once upon  a time,\nthere was Bob."
    ids = own(text)["input_ids"]
    found = pieces_of(own, text, ids)
    assert found.pieces[0].role == "special" and found.places[0] == 0
    assert "".join(piece.text for piece in found.pieces) == text
    assert set(found.words) <= set(found.places.tolist())


def test_special_tokens_of_a_chat_are_pieces_of_their_own() -> None:
    own = words()
    messages = [{"role": "user", "content": "You failed."}]
    text = own.apply_chat_template(
        messages, chat_template=CHAT_TEMPLATE, tokenize=False, add_generation_prompt=True
    )
    ids = own(text, add_special_tokens=False)["input_ids"]
    start = text.index("You failed.")
    found = pieces_of(own, text, ids, (start, start + len("You failed.")))
    assert [(p.text, p.role) for p in found.pieces[:4]] == [
        ("<s>", "special"),
        ("<user>", "prompt"),
        ("You", "stimulus"),
        (" ", "space"),
    ]


@pytest.mark.parametrize(
    ("word", "plain"),
    [("You'd", "you'd"), ("(Sure?!)", "sure"), ("...", "..."), ("0-1", "0-1"), ("Naïve.", "naïve")],
)
def test_words_are_counted_without_case_and_punctuation(word: str, plain: str) -> None:
    assert plain_word(word) == plain
