from __future__ import annotations

from pathlib import Path

import pytest

from emo_harness.prompt_tokens import PREFIX_CHARS, PromptLimit, PromptTokens, tokenizer_file


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"word": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_generation_prompts_must_leave_room_for_the_answer(tokenizer_folder: Path) -> None:
    tokens = PromptTokens.for_limit(PromptLimit(str(tokenizer_folder), max_length=300))
    assert tokens is not None

    def request(n: int, **kwargs: int) -> tuple[str, object]:
        return "word " * n, {"until": ["\n"], **kwargs}

    requests = [
        request(44),
        request(45),
        request(45, max_gen_toks=8),
        request(45, max_new_tokens=8),
    ]
    assert tokens.truncated(requests, n_arms=4) == [False, True, False, False]


def test_an_arm_with_options_is_cut_if_any_option_is(tokenizer_folder: Path) -> None:
    tokens = PromptTokens.for_limit(PromptLimit(str(tokenizer_folder), max_length=20))
    assert tokens is not None
    short, long = ("word " * 20, " word"), ("word " * 21, " word")
    assert tokens.truncated([short, short, short, long], 2) == [False, True]


def test_a_counted_prompt_bounds_its_likes_without_counting_them(tokenizer_folder: Path) -> None:
    tokens = PromptTokens.for_limit(PromptLimit(str(tokenizer_folder), max_length=2000))
    assert tokens is not None
    counted: list[str] = []

    class Counting:
        def encode(self, text: str, add_special_tokens: bool) -> object:
            counted.append(text)
            return tokens._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    base = "word " * 600
    like, long = "Calm down. " + base, "word " * 2100
    bounded = PromptTokens(Counting(), 2000).truncated(
        [(text, {}) for text in (base, like, base + " x", long)], 4
    )
    assert bounded == [False, False, False, True]
    assert counted == [base, long]
    counted.clear()
    long_like = "Calm down. " + long
    assert PromptTokens(Counting(), 2000).truncated([(long, {}), (long_like, {})], 2) == [True] * 2
    assert counted == [long]


class Recording:
    """A tokenizer that remembers how long the texts were that it was given."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.n_chars: list[int] = []

    def encode(self, text: str, add_special_tokens: bool) -> object:
        self.n_chars.append(len(text))
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)


def test_of_a_huge_prompt_only_a_prefix_is_encoded(tokenizer_folder: Path) -> None:
    huge = "word " * 1_000_000
    recording = Recording(tokenizer_folder)
    tokens = PromptTokens(recording, 2048)
    assert tokens.truncated([(huge, {}), ("Calm down. " + huge, {})], 2) == [True, True]
    assert recording.n_chars == [PREFIX_CHARS]


@pytest.mark.parametrize("n_words", [1791, 1792, 1793])
@pytest.mark.parametrize("where", ["first", "last", "spread"])
def test_a_long_prompt_is_cut_exactly_where_its_tokens_exceed_the_room(
    tokenizer_folder: Path, n_words: int, where: str
) -> None:
    blank = " " * 300_000
    words = "word " * n_words
    text = {"first": words + blank, "last": blank + words, "spread": ("word" + " " * 97) * n_words}
    tokens = PromptTokens(Recording(tokenizer_folder), 2048)
    assert tokens.truncated([(text[where], {})], 1) == [n_words > 1792]


def test_a_huge_text_is_counted_by_its_beginning(tokenizer_folder: Path) -> None:
    recording = Recording(tokenizer_folder)
    tokens = PromptTokens(recording, 2048)
    assert tokens.about("word " * 1_000_000) == 1_000_000
    assert tokens.about("word " * 100) == tokens.count("word " * 100) == 100
    assert max(recording.n_chars) == PREFIX_CHARS


def test_lone_surrogates_are_counted_not_refused(tokenizer_folder: Path) -> None:
    tokens = PromptTokens.for_limit(PromptLimit(str(tokenizer_folder), max_length=10))
    assert tokens is not None and tokens.truncated([("word \ud800 " * 40, {})], 1) == [True]


@pytest.mark.parametrize(
    ("config", "max_length", "known"),
    [
        ({"model_args": {"pretrained": "org/model"}}, 512, True),
        ({"model_args": "pretrained=org/model,dtype=float32"}, 512, True),
        ({"model_args": {"model": "gpt"}}, 512, False),
        ({"model_args": {"pretrained": "org/model"}}, None, False),
        ({}, 512, False),
    ],
)
def test_limit_is_known_where_the_run_tells_it(
    config: dict, max_length: object, known: bool
) -> None:
    assert (PromptLimit.of_run(config, max_length) is not None) == known


def test_a_tokenizer_that_is_not_at_hand_is_unknown_without_a_download(tmp_path: Path) -> None:
    assert tokenizer_file("org/not-in-any-cache") is None
    assert tokenizer_file(str(tmp_path / "a" / "b" / "c")) is None
    assert PromptTokens.for_limit(None) is None
