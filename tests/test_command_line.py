from __future__ import annotations

import shlex

import pytest

from emo_harness.command_line import command_line, is_secret


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api_key", "sesame"],
        ["--api-key=sesame"],
        ["--model_args", "model=gpt,api_key=sesame,max_tokens=3"],
        ["--model_args", '{"api_key": "sesame", "max_tokens": 3}'],
        ["--model_args", '{"password": "se\\"same", "x": 1}'],
        ["--metadata", '{"emo": {"stimuli": ["a"]}, "client_secret": "sesame"}'],
        ["--metadata", "{'hf_token': 'sesame'}"],
        ["--hf_hub_log_args", "hub_results_org=me,token=sesame"],
        ["--model_args", "base_url=https://me:sesame@host/v1"],
        ["--model_args", "header={'Authorization': 'Bearer sesame'}"],
        ["--wandb_args", "note=hf_sesamesesamesesame"],
    ],
)
def test_secrets_are_hidden_wherever_they_stand(arguments: list[str]) -> None:
    shown = command_line(["lm_eval", *arguments])
    assert "same" not in shown and "***" in shown
    assert len(shlex.split(shown)) == 1 + len(arguments)


def test_everything_else_is_shown_as_typed() -> None:
    arguments = [
        "--model_args",
        "pretrained=org/model,tokenizer=org/tokenizer,max_gen_toks=8,add_bos_token_first=1",
        "--gen_kwargs",
        "max_tokens=8,temperature=0.7",
        "--metadata",
        '{"emo": {"stimuli": "My dog\'s ill; a secret."}}',
        "--limit",
        "3",
    ]
    assert shlex.split(command_line(["/somewhere/bin/lm_eval", *arguments])) == [
        "lm_eval",
        *arguments,
    ]


def test_a_module_is_told_by_its_package() -> None:
    assert command_line(["/x/lm_eval/__main__.py", "--limit", "3"]) == "lm_eval --limit 3"


def test_bytes_that_are_no_text_can_be_written() -> None:
    command_line(["lm_eval", "\udcff"]).encode()


def test_names_of_secrets() -> None:
    assert all(map(is_secret, ("api_key", "hf_token", "password", "AWS_SECRET_ACCESS_KEY")))
    assert not any(map(is_secret, ("tokenizer", "max_tokens", "key", "secretary")))
