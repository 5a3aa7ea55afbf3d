"""Answers kept by `--use_cache` are given again for the same model and settings alone."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from emo_harness import model_identity
from emo_harness.errors import UserError
from emo_harness.lm_models import WEIGHTS, answer_cache
from emo_harness.lm_models.answer_cache import CHANGES_NO_ANSWER, answer_key, prepare_cache
from emo_harness.model_identity import content_id, hub_commit, identities

TASK = "emo_bbh_mini_attack_boolean_expressions"
COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40
Run = Callable[..., list[str]]


def tiny_llama(folder: Path, seed: int) -> Path:
    """A Llama with random weights and the embedded model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(WEIGHTS, folder, ignore=shutil.ignore_patterns("*.safetensors", "*config.json"))
    shutil.copy(WEIGHTS / "tokenizer_config.json", folder)
    told = json.loads((WEIGHTS / "config.json").read_text())
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    tokens = {name: told[name] for name in ("vocab_size", "bos_token_id", "eos_token_id")}
    torch.manual_seed(seed)
    config = LlamaConfig(**sizes, **heads, **tokens, max_position_embeddings=2048)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def stimuli_file(path: Path, sentence: str) -> Path:
    stimulus = {"id": "own01", "text": sentence, "theory": "test"}
    path.write_text(
        yaml.safe_dump({"name": "own", "version": 1, "family": "attack", "stimuli": [stimulus]})
    )
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`emo run`, giving back the prompts that the model was asked."""
    from lm_eval.models.huggingface import HFLM

    from emo_harness.lm_tasks import host

    asked: list[str] = []
    upstream = HFLM.generate_until

    def recorded(self: Any, requests: Any, **kwargs: Any) -> Any:
        asked.extend(request.args[0] for request in requests)
        return upstream(self, requests, **kwargs)

    monkeypatch.setattr(HFLM, "generate_until", recorded)

    def called(cache: Path, model: Path, stimuli: Path, *more: str, model_args: str = "") -> Any:
        asked.clear()
        host.run([
            "--model", "hf", "--model_args", f"pretrained={model}{model_args}", "--device", "cpu",
            "--tasks", TASK, "--limit", "2", "--use_cache", str(cache), "--metadata",
            json.dumps({"emo": {"stimuli": ["ea01", str(stimuli)], "placebos": 1}}),
            *(more or ("--gen_kwargs", "max_gen_toks=2")),
        ])  # fmt: skip
        return list(asked)

    return called


def kept(folder: Path) -> dict[str, int]:
    """Answers in each file of a folder."""
    return {
        path.name: sqlite3.connect(path).execute("select count(*) from unnamed").fetchone()[0]
        for path in folder.glob("*.db")
    }


@pytest.mark.slow
def test_only_the_same_model_settings_and_stimuli_find_answers(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "kept" / "answers"
    model, other = tiny_llama(tmp_path / "model", 0), tiny_llama(tmp_path / "other", 1)
    mine = stimuli_file(tmp_path / "mine.yaml", "The bridge behind you is gone.")
    first = run(cache, model, mine)
    assert len(first) > 4
    assert list(kept(cache.parent).values()) == [len(first)]
    assert run(cache, model, mine) == []
    # Where and how fast it runs makes no difference.
    assert run(cache, model, mine, "--gen_kwargs", "max_gen_toks=2", "--batch_size", "4") == []
    assert len(kept(cache.parent)) == 1

    for swapped in (
        lambda: run(cache, other, mine),
        lambda: run(cache, model, mine, model_args=",revision=v2"),
        lambda: run(cache, model, mine, model_args=",dtype=bfloat16"),
        lambda: run(cache, model, mine, "--gen_kwargs", "max_gen_toks=3"),
    ):
        files = kept(cache.parent)
        assert sorted(swapped()) == sorted(first)
        assert len(kept(cache.parent)) == len(files) + 1
        assert swapped() == []
    with monkeypatch.context() as patched:
        patched.setattr(answer_cache, "CODE_SCHEMA", answer_cache.CODE_SCHEMA + 1)
        assert sorted(run(cache, model, mine)) == sorted(first)

    # The same ids with another sentence: its prompts alone are new.
    theirs = stimuli_file(tmp_path / "theirs.yaml", "All the lights went out at once.")
    asked_anew = run(cache, model, theirs)
    assert len(asked_anew) == 2
    assert all("All the lights went out" in prompt for prompt in asked_anew)
    assert run(cache, model, mine) == []

    # Retrained in place: neither name nor size has changed.
    shutil.copy(other / "model.safetensors", model / "model.safetensors")
    assert sorted(run(cache, model, mine)) == sorted(first)


@pytest.mark.slow
def test_a_second_model_is_never_answered_for_by_the_first(tmp_path: Path, run: Run) -> None:
    cache = tmp_path / "answers"
    one, other = tiny_llama(tmp_path / "one", 0), tiny_llama(tmp_path / "two", 1)
    mine = stimuli_file(tmp_path / "mine.yaml", "The bridge behind you is gone.")

    def answers(model: Path, cache: Path) -> list[Any]:
        out = tmp_path / "out" / f"{model.name}-{cache.parent.name}"
        run(
            cache, model, mine, "--gen_kwargs", "max_gen_toks=4",
            "--log_samples", "--output_path", str(out),
        )  # fmt: skip
        samples = next(out.rglob("samples_*.jsonl"))
        return [json.loads(line)["resps"] for line in samples.read_text().splitlines()]

    alone = answers(other, tmp_path / "alone" / "answers")
    assert answers(one, cache) != alone
    assert answers(other, cache) == alone


def test_what_changes_no_answer_is_not_in_the_key() -> None:
    plain = answer_key("hf", {"pretrained": str(WEIGHTS)})
    knobs = dict.fromkeys(CHANGES_NO_ANSWER, "x")
    assert answer_key("hf", {"pretrained": str(WEIGHTS), **knobs}) == plain


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "emo-hf"},
        {"model_args": {"dtype": "float16"}},
        {"model_args": {"revision": "v2"}},
        {"model_args": {"an_argument_of_next_year": 1}},
        {"model_args": {"speculative_config": {"n": 1}}},
        {"gen_kwargs": {"temperature": 0.5}},
        {"seeds": [0, 1234, 1, 1234]},
        {"chat": {"apply_chat_template": True}},
    ],
    ids=str,
)
def test_everything_else_is(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"model": "hf", "seeds": [0, 1234, 1234, 1234]}
    pretrained = {"pretrained": str(WEIGHTS)}
    plain = answer_key(**given, model_args=pretrained)
    given = {**given, **changed, "model_args": {**pretrained, **changed.get("model_args", {})}}
    assert answer_key(**given).sha256 != plain.sha256


def test_the_order_of_arguments_and_the_seed_of_worked_examples_do_not_matter() -> None:
    one = answer_key("hf", {"a": 1, "b": 2}, seeds=[0, 1, 2, 3])
    assert one.sha256 == answer_key("hf", {"b": 2, "a": 1}, seeds=[0, 1, 2, 9]).sha256


def test_versions_of_the_packages_that_answer_are_in_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = answer_key("vllm", {}).sha256
    monkeypatch.setattr(answer_cache, "version", lambda package: "99.1.2")
    key = answer_key("vllm", {})
    assert key.versions == {"lm_eval": "99.1.2", "transformers": "99.1", "vllm": "99.1"}
    assert key.sha256 != before


# What stands behind a name


def test_any_argument_that_names_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("pretrained", "peft", "steer_path", "adapters.0"):
        file = tmp_path / name
        file.write_text("one")
        outer, _, inner = name.partition(".")
        model_args = {outer: [str(file)] if inner else str(file)}
        before = identities(model_args)
        file.write_text("two")
        assert set(before) == {name}
        assert identities(model_args) != before


def test_a_folder_is_known_by_names_and_contents_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for name in ("config.json", "sub/weights.bin"):
        (folder / name).write_text("{}")
    found = [content_id(folder)]
    for change in (
        lambda: (folder / "config.json").write_text("[]"),
        lambda: (folder / "sub" / "weights.bin").write_text("[]"),
        lambda: (folder / "sub" / "weights.bin").rename(folder / "sub" / "renamed.bin"),
        lambda: (folder / "tokenizer.json").write_text("{}"),
    ):
        change()
        found.append(content_id(folder))
    assert len(set(found)) == len(found)
    before = content_id(folder)
    for name in ("README.md", ".gitattributes"):
        (folder / name).write_text("words")
    os.utime(folder / "config.json", (0, 0))
    assert content_id(folder) == before
    shutil.copytree(folder, tmp_path / "copy")
    assert content_id(tmp_path / "copy") == before


@pytest.mark.parametrize("place", [0, 5000, 400_000, 999_999])
def test_large_weights_of_equal_size_and_time_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(model_identity, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(model_identity, "END_BYTES", 10_000)
    weights = tmp_path / "model.safetensors"
    content = bytearray(1_000_000)
    weights.write_bytes(content)
    os.utime(weights, (0, 0))
    before = content_id(tmp_path)
    # Training changes weights all over a file; a run of 16 kB of them cannot hide.
    content[place : place + 16_384] = b"\1" * len(content[place : place + 16_384])
    weights.write_bytes(content)
    os.utime(weights, (0, 0))
    assert content_id(tmp_path) != before


def test_large_weights_changed_in_one_place_are_known_by_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_identity, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(model_identity, "END_BYTES", 100)
    (tmp_path / "weights.bin").write_bytes(bytes(2000))
    os.utime(tmp_path / "weights.bin", (0, 0))
    before = content_id(tmp_path)
    os.utime(tmp_path / "weights.bin", (1, 1))
    assert content_id(tmp_path) != before


def test_an_adapters_base_belongs_to_it_and_links_may_go_round(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    (base / "config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    (adapter / "round").symlink_to(adapter, target_is_directory=True)
    before = content_id(adapter)
    (base / "config.json").write_text("[]")
    assert content_id(adapter) != before


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local cache of the hub that knows one repository."""
    from huggingface_hub import constants

    refs = tmp_path / "hub" / "models--org--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return refs


def test_a_hub_model_is_known_by_the_commit_its_revision_is_at(hub: Path) -> None:
    def identity(**more: str) -> str | None:
        return identities({"pretrained": "org/model", **more})["pretrained"]

    assert identity() == identity(revision="main") == f"commit {COMMIT}"
    assert identity(revision=OTHER_COMMIT) == f"commit {OTHER_COMMIT}"
    assert identity(revision="elsewhere") is None
    before = answer_key("hf", {"pretrained": "org/model"}).sha256
    (hub / "main").write_text(OTHER_COMMIT)
    assert identity() == f"commit {OTHER_COMMIT}"
    assert answer_key("hf", {"pretrained": "org/model"}).sha256 != before


def test_a_hub_that_answers_is_ahead_of_its_cache(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    class Api:
        def model_info(self, name: str, **kwargs: Any) -> Any:
            return type("Info", (), {"sha": OTHER_COMMIT})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert hub_commit("org/model", "main") == OTHER_COMMIT


def test_a_tokenizer_has_its_own_revision(hub: Path) -> None:
    (hub / "v2").write_text(OTHER_COMMIT)
    found = identities({"tokenizer": "org/model", "tokenizer_revision": "v2", "revision": "main"})
    assert found == {"tokenizer": f"commit {OTHER_COMMIT}"}


def test_what_a_server_serves_is_unknown_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = {"model": "org/model", "base_url": "http://localhost:8000/v1/completions"}
    key = answer_key("local-completions", served)
    assert key.identities == {"model": None}
    with caplog.at_level(logging.WARNING):
        prepare_cache(str(tmp_path / "answers"), key)
    assert "model=org/model cannot be seen from here" in caplog.text


# Files


def test_the_user_is_told_the_file_and_what_it_stands_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = answer_key("hf", {"pretrained": str(WEIGHTS), "header": {"Authorization": "Bearer 1"}})
    with caplog.at_level(logging.INFO):
        keyed = prepare_cache(str(tmp_path / "new" / "answers"), key)
    assert Path(keyed).name == f"answers-{key.sha256[:12]}"
    assert f"kept in the new file {keyed}_rank0.db" in caplog.text
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{Path(keyed).name}.json"]
    told = json.loads(Path(f"{keyed}.json").read_text())
    assert told["sha256"] == key.sha256
    assert told["model_args"]["pretrained"] == str(WEIGHTS)
    assert "Bearer 1" not in str(told)


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="keeping answers") as raised:
        prepare_cache(str(tmp_path / "file" / "answers"), answer_key("hf", {}))
    assert str(tmp_path / "file") in raised.value.found


def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path) -> None:
    key = answer_key("hf", {})
    keyed = prepare_cache(str(tmp_path / "answers"), key)
    Path(f"{keyed}_rank0.db").write_text("my notes")
    with pytest.raises(UserError, match="not an SQLite file"):
        prepare_cache(str(tmp_path / "answers"), key)
    assert Path(f"{keyed}_rank0.db").read_text() == "my notes"
