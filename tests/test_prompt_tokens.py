from __future__ import annotations

from pathlib import Path

import pytest

from emo_harness.prompt_tokens import PromptLimit, PromptTokens, tokenizer_file


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

    def request(n: int, **kwargs: int) -> dict:
        return {"arg_0": "word " * n, "arg_1": {"until": ["\n"], **kwargs}}

    arguments = {
        "a": request(44),
        "b": request(45),
        "c": request(45, max_gen_toks=8),
        "d": request(45, max_new_tokens=8),
    }
    assert tokens.truncated(arguments, n_arms=4) == [False, True, False, False]


def test_an_arm_with_options_is_cut_if_any_option_is(tokenizer_folder: Path) -> None:
    tokens = PromptTokens.for_limit(PromptLimit(str(tokenizer_folder), max_length=20))
    assert tokens is not None
    short, long = (
        {"arg_0": "word " * 20, "arg_1": " word"},
        {"arg_0": "word " * 21, "arg_1": " word"},
    )
    assert tokens.truncated({"a": short, "b": short, "c": short, "d": long}, 2) == [False, True]


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
