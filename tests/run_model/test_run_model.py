"""The model of a run is found again, wherever it lies now, and another one is told from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emo_harness.errors import UserError
from emo_harness.resources import embedded_model
from emo_harness.run_model import load_run_model
from emo_harness.run_model.logged_answers import log_likelihood
from emo_harness.runs import read_answers
from tests.lm_models.local_models import saved, tokenizer
from tests.run_model.asked_runs import (
    GENERATED,
    MC,
    ROOM,
    SHORT,
    Asked,
    asked,
    change_weights,
    scores_of,
    told_otherwise,
    unrecorded,
)
from tests.runs.made_runs import made_run


@pytest.mark.parametrize("mode", ["rated", "generated"])
def test_the_runs_own_model_is_found_and_is_the_same(runs: Asked, mode: str) -> None:
    scores = scores_of(getattr(runs, mode))
    assert scores[0].facts.asked.identities.keys() == {"pretrained", "tokenizer"}
    for known in (scores, unrecorded(scores)):
        found = load_run_model(known, device="cpu")
        assert found.is_same
        assert found.forced is None
        assert found.name == runs.model.name
        assert found.loaded.facts.dtype == "float32"


def test_it_is_the_same_under_a_relative_path_and_as_a_copy(
    runs: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = unrecorded(scores_of(runs.rated))
    monkeypatch.chdir(runs.model.parent)
    assert load_run_model(scores, name=runs.model.name, device="cpu").is_same
    copy = tmp_path / "elsewhere"
    shutil.copytree(runs.model, copy)
    found = load_run_model(scores, name=str(copy), device="cpu")
    assert found.is_same
    assert found.name == "elsewhere"
    # What was generated in a few tokens proves less; the files' hashes do.
    assert load_run_model(scores_of(runs.generated), name=str(copy), device="cpu").is_same


@pytest.mark.parametrize("mode", ["rated", "generated"])
def test_other_weights_in_the_same_folder_answer_otherwise(changed: Asked, mode: str) -> None:
    scores = unrecorded(scores_of(getattr(changed, mode)))
    with pytest.raises(UserError, match="than those that were logged") as refused:
        load_run_model(scores, device="cpu")
    assert "--force" in refused.value.fix
    found = load_run_model(scores, device="cpu", force=True)
    assert not found.is_same
    assert found.forced is not None
    assert "than those that were logged" in found.forced


def test_a_model_that_is_sure_of_its_answers_is_told_from_a_slightly_changed_one(
    tmp_path: Path,
) -> None:
    """The logarithm of what is nearly certain is nearly zero, whatever the weights are."""
    model = tmp_path / "model"
    shutil.copytree(embedded_model("emo-demo"), model)
    run = asked(tmp_path / "run", {"pretrained": str(model)}, MC)
    assert load_run_model(scores_of(run), device="cpu").is_same
    change_weights(model, 0.1)
    with pytest.raises(UserError, match="other log-likelihoods than those that were logged"):
        load_run_model(scores_of(run), device="cpu")


def test_certain_answers_alone_prove_nothing(
    runs: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs.model, copy)
    scores = unrecorded(scores_of(runs.rated))
    assert load_run_model(scores, name=str(copy), device="cpu").is_same
    monkeypatch.setattr("emo_harness.run_model.logged_answers.CERTAIN", 10_000)
    with pytest.raises(UserError, match="nothing shows that it is the model"):
        load_run_model(scores, name=str(copy), device="cpu")


def test_an_unnoticed_change_shows_in_the_files(changed: Asked, tmp_path: Path) -> None:
    """Answers that were drawn at random cannot be asked again."""
    run = tmp_path / "drawn"
    shutil.copytree(changed.generated, run)
    (samples,) = run.rglob("samples_*.jsonl")
    samples.write_text(
        samples.read_text("utf-8").replace('"do_sample": false', '"do_sample": true')
    )
    with pytest.raises(UserError, match="the files of the weights are not those") as refused:
        load_run_model(scores_of(run), device="cpu")
    assert "drawn at random" in refused.value.found


def test_a_folder_that_has_gone_is_told_and_named_anew(runs: Asked, tmp_path: Path) -> None:
    run = tmp_path / "run"
    gone = str(runs.model)
    shutil.copytree(runs.rated, run)
    (results,) = run.rglob("results_*.json")
    results.write_text(results.read_text("utf-8").replace(gone, "/gone/model"))
    with pytest.raises(UserError, match="no folder /gone/model") as refused:
        load_run_model(scores_of(run), device="cpu")
    assert "--model PATH" in refused.value.fix
    assert load_run_model(scores_of(run), name=gone, device="cpu").is_same


def test_another_model_is_refused_and_its_name_is_no_proof(runs: Asked, tmp_path: Path) -> None:
    other = saved(tmp_path / "model", "llama", num_hidden_layers=3, **ROOM)
    with pytest.raises(UserError, match=r"parameters, where the run's model had") as refused:
        load_run_model(scores_of(runs.rated), name=str(other), device="cpu")
    assert str(runs.model) in refused.value.expected
    # Answers that were made up are nobody's.
    run = made_run(
        tmp_path / "run",
        config={"model_args": {"pretrained": str(runs.model)}},
        declared={"generation_kwargs": {"do_sample": True}},
        answer=lambda question, arm: "Yes",
    )
    with pytest.raises(UserError, match="other answers than those that were logged"):
        load_run_model(scores_of(run), device="cpu")


def test_another_commit_or_number_of_parameters_is_another_model(runs: Asked) -> None:
    scores = scores_of(runs.rated)
    for change, match in (
        ({"n_parameters": 7}, "parameters, where"),
        ({"special_tokens": {"eos": ("<end>", 5)}}, "a tokenizer whose eos token is '</s>'"),
    ):
        odd = [told_otherwise(one, **change) for one in scores]
        with pytest.raises(UserError, match=match):
            load_run_model(odd, device="cpu")


def in_hub_cache(folder: Path, model: Path, name: str, commits: dict[str, str]) -> None:
    """Put a model into a hub's local cache, as downloads do."""
    repository = folder / f"models--{name.replace('/', '--')}"
    for revision, commit in commits.items():
        shutil.copytree(model, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)


def test_the_runs_revision_is_loaded_and_another_is_refused(
    runs: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "a" * 40, "b" * 40
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(cache), raising=False)
    in_hub_cache(cache, runs.model, "org/small", {"main": second, "v1": first})
    change_weights(cache / "models--org--small" / "snapshots" / second)
    run = tmp_path / "run"
    shutil.copytree(runs.rated, run)
    (results,) = run.rglob("results_*.json")
    logged = json.loads(results.read_text("utf-8"))
    logged["config"]["model_args"] = {"pretrained": "org/small", "revision": "v1"}
    logged["config"] |= {"model_revision": "v1", "model_sha": first}
    results.write_text(json.dumps(logged))
    scores = unrecorded(scores_of(run))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    found = load_run_model(scores, device="cpu")
    assert found.is_same
    assert found.name == "org/small"
    assert found.loaded.facts.revision == first
    with pytest.raises(UserError, match=f"commit {second[:12]}, where the run asked {first[:12]}"):
        load_run_model(scores, revision="main", device="cpu")
    forced = load_run_model(scores, revision="main", device="cpu", force=True).forced
    assert forced is not None
    assert "log-likelihoods" in forced


def test_a_tokenizer_from_elsewhere_is_taken_from_there(runs: Asked, tmp_path: Path) -> None:
    words = tokenizer(adds_bos=True)
    words.save_pretrained(tmp_path / "words")
    args = {"pretrained": str(runs.model), "tokenizer": str(tmp_path / "words")}
    run = asked(tmp_path / "run", args, MC, limit=3)
    for scores in (scores_of(run), unrecorded(scores_of(run))):
        found = load_run_model(scores, device="cpu")
        assert found.is_same
        assert found.loaded.tokenizer("a").input_ids[0] == words.bos_token_id
    # The tokenizer that lies beside the weights is another one.
    beside = {"pretrained": str(runs.model)}
    plain = [told_otherwise(one, arguments=beside) for one in unrecorded(scores_of(run))]
    with pytest.raises(UserError, match="other log-likelihoods"):
        load_run_model(plain, device="cpu")


@pytest.mark.parametrize("adds_bos", [True, False])
def test_special_tokens_are_those_that_were_asked_with(tmp_path: Path, adds_bos: bool) -> None:
    model = saved(tmp_path / "model", "llama", adds_bos=True, **ROOM)
    args = {"pretrained": str(model), "add_bos_token": adds_bos}
    run = asked(tmp_path / "run", args, MC, limit=3)
    found = load_run_model(unrecorded(scores_of(run)), device="cpu")
    assert found.is_same
    assert (found.loaded.tokenizer("a").input_ids[0] == 0) is adds_bos


def test_an_adapter_is_merged_into_the_weights(runs: Asked, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = peft.LoraConfig(target_modules=["q_proj"], r=4, init_lora_weights=False)
    base = AutoModelForCausalLM.from_pretrained(runs.model, dtype=torch.float32)
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    args = {"pretrained": str(runs.model), "peft": str(tmp_path / "adapter")}
    run = asked(tmp_path / "run", args, MC, limit=3)
    scores = scores_of(run)
    assert scores[0].facts.asked.identities.keys() == {"pretrained", "tokenizer", "peft"}
    found = load_run_model(unrecorded(scores), device="cpu")
    assert found.is_same
    without = load_run_model(scores_of(runs.rated), device="cpu")
    assert found.loaded.facts.identity != without.loaded.facts.identity
    assert log_likelihood(found.loaded, "Q:", " A") != log_likelihood(without.loaded, "Q:", " A")


def test_rounded_runs_agree_with_the_exact_model(runs: Asked, tmp_path: Path) -> None:
    args = {"pretrained": str(runs.model), "dtype": "bfloat16"}
    run = asked(tmp_path / "run", args, MC, model="emo-hf", limit=4)
    scores = unrecorded(scores_of(run))
    assert load_run_model(scores, device="cpu").is_same
    assert load_run_model(scores, device="cpu", dtype="bfloat16").is_same


@pytest.mark.parametrize("task", [MC, GENERATED])
def test_prompts_in_a_chat_and_beyond_the_window_are_asked_as_they_were(
    tmp_path: Path, task: str
) -> None:
    """A window of 96 tokens cuts every prompt's beginning, and with it the template's `<s>`."""
    model = saved(tmp_path / "model", "llama", max_position_embeddings=96)
    args = {"pretrained": str(model)}
    in_chat = {"apply_chat_template": True, **SHORT}
    for name, more in (("plain", SHORT), ("chat", in_chat)):
        run = asked(tmp_path / name, args, task, limit=3, **more)
        assert load_run_model(unrecorded(scores_of(run)), device="cpu").is_same
    wide = saved(tmp_path / "wide", "llama", adds_bos=True, **ROOM)
    run = asked(tmp_path / "wide-run", {"pretrained": str(wide)}, task, limit=3, **in_chat)
    assert scores_of(run)[0].settings["chat_template"]
    assert load_run_model(unrecorded(scores_of(run)), device="cpu").is_same


def test_log_likelihoods_are_those_that_lm_eval_logged(runs: Asked) -> None:
    scores = scores_of(runs.rated)
    loaded = load_run_model(scores, device="cpu").loaded
    (answer,) = read_answers([scores[0].lines[0]])
    for arm, options in answer.options.items():
        for option, logged in options:
            assert log_likelihood(loaded, answer.prompts[arm], option) == pytest.approx(
                logged, abs=1e-4
            )
