"""`emo decode`: from sets, instructions and runs to meta prompts; and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from emo_harness.activations.loading import load_language_model
from emo_harness.cli.main import app
from emo_harness.decode.asked import asked_in_run
from emo_harness.decode.decode import spread_layers
from emo_harness.decode.decoders import decoders_of
from emo_harness.decode.files import OWN_FILES
from emo_harness.decode.stimulus_prompts import PLACEBO
from emo_harness.decode.translators import LayerFit, Translators, facts_of
from emo_harness.errors import UserError
from emo_harness.lm_tasks.arms import arms_of
from emo_harness.lm_tasks.options import EmoOptions
from emo_harness.runs import read_runs
from emo_harness.stimuli import load_set
from tests.decode.decoded_models import planted
from tests.lm_models.local_models import saved

WORDS = 20
# Last words: w3 and w4 of one family, w9 of the other; w15 of placebos.
SETS = {
    "warm": ("warm", ["w1 w2 w3.", "w5 w3!", "w2 w4", "w1 w4."]),
    "cold": ("cold", ["w7 w8 w9.", "w2 w9."]),
    "still": ("placebo", ["w1 w15.", "w2 w15.", "w12 w14 w15"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planted model, sets of its words, and a small random model with byte-level BPE."""
    folder = tmp_path_factory.mktemp("decoded")
    model = planted(WORDS)
    model.model.save_pretrained(folder / "planted")
    model.tokenizer.save_pretrained(folder / "planted")
    saved(folder / "random", "llama", adds_bos=True, max_position_embeddings=4096)
    for name, (family, texts) in SETS.items():
        rows = [{"id": f"{name}{i}", "text": text} for i, text in enumerate(texts)]
        content = {"name": name, "family": family, "stimuli": rows}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return folder


def said(*arguments: object) -> str:
    """What the command prints; a user's mistake is raised."""
    done = CliRunner().invoke(app, ["decode", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def planted_arguments(folder: Path, out: Path, *others: object) -> list[object]:
    sets = [folder / "warm.yaml", folder / "cold.yaml", "--placebos", folder / "still.yaml"]
    return [*sets, "--model", folder / "planted", "--out", out, *others]


def shipped_arguments(folder: Path, out: Path, *others: object) -> list[object]:
    return ["prompt", "attack", "--model", folder / "random", "--out", out, *others]


def texts(out: Path) -> dict[str, str]:
    return {one.id: one.text for one in load_set(out / "meta.yaml").stimuli}


def entries(out: Path, **wanted: Any) -> list[dict[str, Any]]:
    told = json.loads((out / "decode.json").read_text("utf-8"))["entries"]
    return [e for e in told if all(e[name] == value for name, value in wanted.items())]


@pytest.mark.parametrize("vector", ["contrast", "mean"])
@pytest.mark.parametrize("decoder", ["logit-lens", "nearest"])
def test_planted_meanings_are_decoded(
    folder: Path, tmp_path: Path, vector: str, decoder: str
) -> None:
    options = ("--vector", vector, "--decoder", decoder, "--length", 2, "--seed", 3)
    said(*planted_arguments(folder, tmp_path / "out", *options))
    found = texts(tmp_path / "out")
    assert set(found["decoded-warm-l00"].split()) == {"w3", "w4"}
    assert found["decoded-cold-l00"].split()[0] == "w9"
    assert found["neutral-l00"].split()[0] == "w15"


def test_a_full_stop_decodes_to_itself_and_content_does_not(folder: Path, tmp_path: Path) -> None:
    said(*planted_arguments(folder, tmp_path / "out", "--pooling", "positions", "--vector", "each"))
    assert texts(tmp_path / "out")["decoded-cold1-l00"].split()[:2] == ["w2", "w9"]


def test_at_the_last_layer_positions_are_the_models_next_tokens(
    folder: Path, tmp_path: Path
) -> None:
    options = ("--pooling", "positions", "--vector", "each", "--layers", "1")
    said("ep02", "ea19", "--model", folder / "random", "--out", tmp_path / "out", *options)
    loaded = load_language_model(str(folder / "random"))
    for stimulus in ("ep02", "ea19"):
        text = next(
            s.text
            for name in ("prompt", "attack")
            for s in load_set(name).stimuli
            if s.id == stimulus
        )
        ids = torch.tensor([loaded.tokenizer(text).input_ids])
        with torch.no_grad():
            logits = loaded.model(ids).logits[0, 1:]
        told = entries(tmp_path / "out", kind="meta", vector=stimulus)
        assert [e["position"] for e in told] == list(range(len(logits)))
        assert [e["tokens"][0]["id"] for e in told] == logits.argmax(dim=-1).tolist()
        first = [e["tokens"][0]["logit"] for e in told]
        np.testing.assert_allclose(first, logits.amax(dim=-1), rtol=1e-4)


def test_the_set_loads_again_with_every_control(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said(*shipped_arguments(folder, out, "--random", 2, "--permuted", 2))
    own = load_set(out / "meta.yaml")
    assert own.family == "decoded"
    metas = [s for s in own.stimuli if s.placebo is None]
    assert {s.lineage for s in metas} == {"decoded-prompt", "decoded-attack"}
    controls = [s for s in own.stimuli if s.placebo is not None]
    assert {s.family for s in controls} == {"placebo"}
    assert {s.placebo for s in controls} == {"decoded"}
    found = sorted(
        (s.decoded.kind, s.decoded.control_of or "", s.decoded.layer, s.decoded.draw)
        for s in controls
        if s.decoded
    )
    sources, layers, draws = ("attack", "prompt"), (0, 1), (0, 1)
    assert found == sorted(
        [("neutral", "", layer, 0) for layer in layers]
        + [("shuffled", s, layer, 0) for s in sources for layer in layers]
        + [
            (kind, s, layer, draw)
            for kind in ("random", "permuted")
            for s in sources
            for layer in layers
            for draw in draws
        ]
    )
    assert {s.id for s in own.stimuli} >= {"decoded-prompt-l01", "random-attack-l00-2"}
    arms = arms_of("decoded", EmoOptions(stimuli=str(out / "meta.yaml")), "emo_bbh_decoded")
    assert {a.id for a in arms if a.kind == "stimulus"} == {s.id for s in metas}
    assert {s.id for s in controls} <= {a.id for a in arms if a.kind == "placebo"}


def test_the_files_tell_the_same(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said(*shipped_arguments(folder, out, "--top", 6, "--length", 4))
    table = pd.read_parquet(out / "decode.parquet")
    told = json.loads((out / "decode.json").read_text("utf-8"))
    assert told["families"] == {"prompt": 21, "attack": 22, "placebo": 4}
    assert len(table) == sum(len(e["tokens"]) for e in told["entries"])
    stimuli = {s.id: s for s in load_set(out / "meta.yaml").stimuli}
    assert {e["id"] for e in told["entries"]} == set(stimuli)
    neutral = {e["layer"]: [t["id"] for t in e["tokens"][:6]] for e in entries(out, kind="neutral")}
    for e in told["entries"]:
        made = stimuli[e["id"]].decoded
        assert made is not None
        assert (made.source, made.kind, made.layer) == (e["source"], e["kind"], e["layer"])
        rows = table[table["id"] == e["id"]]
        in_text = rows[rows["in_text"]]
        assert sorted(in_text["token"]) == sorted(made.tokens)
        assert len(made.lost) == int((~in_text["survives"]).sum())
        assert len(made.tokens) == 4
        if e["kind"] != "shuffled":
            logits = rows["logit"].tolist()
            assert logits == sorted(logits, reverse=True)
            assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        top = [t["id"] for t in e["tokens"][:6]]
        share = len(set(top) & set(neutral[e["layer"]])) / 6
        assert e["overlap"] == pytest.approx(share, abs=1e-5)


def test_the_same_command_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "two"):
        said(*shipped_arguments(folder, tmp_path / name, "--seed", 5))
    for file in ("meta.yaml", "decode.json", "decode.parquet"):
        one, two = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert one == two, file


def test_more_layers_and_controls_leave_the_others_alone(folder: Path, tmp_path: Path) -> None:
    said(*shipped_arguments(folder, tmp_path / "few", "--layers", "1"))
    said(*shipped_arguments(folder, tmp_path / "more", "--random", 3, "--permuted", 2))
    few, more = texts(tmp_path / "few"), texts(tmp_path / "more")
    assert few == {name: more[name] for name in few}
    assert len(more) > 2 * len(few)


def test_behind_a_benchmarks_instruction(folder: Path, tmp_path: Path) -> None:
    told = json.loads(
        said(*shipped_arguments(folder, tmp_path / "out", "--context", "emo_bbh_mini", "--json"))
    )
    n = int(told["context"].split()[2])
    assert told["context"] == f"instruction of {n} tasks" and n > 1
    one = ("--context", "emo_bbh_mini_attack_navigate", "--context", "emo_bbh_mini_navigate")
    told = json.loads(said(*shipped_arguments(folder, tmp_path / "one", *one, "--json")))
    assert told["context"] == "instruction of 1 task"
    assert texts(tmp_path / "one") != texts(tmp_path / "out")


def test_translators_are_fitted_kept_and_used_again(folder: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "texts.txt"
    rng = np.random.default_rng(0)
    words = ["the", "question", "is", "about", "a", "box", "your", "friend", "sick", "again"]
    corpus.write_text("\n".join(" ".join(rng.choice(words, 30)) for _ in range(60)), "utf-8")
    fitted = tmp_path / "fitted"
    said(*shipped_arguments(folder, fitted, "--fit-translators", corpus))
    told = json.loads((fitted / "decode.json").read_text("utf-8"))
    assert told["decoder"] == "tuned-lens"
    kept = fitted / "translators.safetensors"
    said(*shipped_arguments(folder, tmp_path / "again", "--translators", kept))
    assert texts(tmp_path / "again") == texts(fitted)
    with pytest.raises(UserError, match="translators"):
        said(*planted_arguments(folder, tmp_path / "other", "--translators", kept))
    said(*shipped_arguments(folder, tmp_path / "one", "--fit-translators", corpus, "--layers", "1"))
    one = tmp_path / "one" / "translators.safetensors"
    said(*shipped_arguments(folder, tmp_path / "same", "--translators", one))
    assert json.loads((tmp_path / "same" / "decode.json").read_text("utf-8"))["layers"] == [1]


def test_a_difference_is_translated_without_the_bias(folder: Path) -> None:
    loaded = load_language_model(str(folder / "random"))
    width = loaded.facts.hidden_size
    rng = np.random.default_rng(0)
    told = Translators(
        site="resid_post",
        layers=(0,),
        matrices=np.eye(width, dtype=np.float32)[None],
        biases=100 * rng.standard_normal((1, width)).astype(np.float32),
        fits=(LayerFit(None, 1.0, 1.0),),
        model=facts_of(loaded),
    )
    by_tuned = decoders_of(loaded, "tuned-lens", "resid_post", told)
    by_lens = decoders_of(loaded, "logit-lens", "resid_post")
    vectors = rng.standard_normal((5, width)).astype(np.float32)
    plain = by_lens.of_vectors.top(vectors, 0, 4)
    assert np.array_equal(by_tuned.of_differences.top(vectors, 0, 4).ids, plain.ids)
    assert not np.array_equal(by_tuned.of_vectors.top(vectors, 0, 4).ids, plain.ids)


def test_the_table_shows_words_marks_and_overlap(folder: Path, tmp_path: Path) -> None:
    shown = said(*shipped_arguments(folder, tmp_path / "out"))
    assert "prompt (21 stimuli)" in shown and "neutral placebos (4 sentences)" in shown
    assert "labels permuted" in shown and "%" in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 132 or "wrote" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prompt", "ep06-joined"], "two readings of EP06, ep06, ep06-joined"),
        (["placebo"], "placebos alone"),
        (["nowhere.yaml"], "no such file"),
        (["prompt", "--placebos", "self-check"], "self-check \\(self-check\\)"),
        (["prompt", "--site", "key"], "key"),
        (["prompt", "--site", "resid"], "no such site"),
        (["prompt", "--layers", "0,7"], "layer 7"),
        (["prompt", "--decoder", "tuned-lens"], "translators"),
        (["prompt", "--decoder", "nearest", "--translators", "x"], "tuned-lens"),
        (["prompt", "--questions", "3"], "--questions without --run"),
        (["prompt", "--force"], "--force without --run"),
        (["prompt", "--context", "emo_bhb"], "emo_bbh"),
        (["...!!!? ..."], "no letter and no digit"),
        (["prompt", "--top", "100000"], "tokens asked for"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    folder: Path, tmp_path: Path, arguments: Sequence[str], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match=message):
        said(*arguments, "--model", folder / "random", "--out", out)
    assert not out.exists() or not list(out.iterdir())


def test_a_stimulus_beyond_the_context_is_told(folder: Path, tmp_path: Path) -> None:
    arguments = ("--model", folder / "planted", "--out", tmp_path / "out")
    with pytest.raises(UserError, match="the model's context"):
        said("w1 " * 300, *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n_layers", [1, 3, 12, 13, 32, 40, 80])
def test_layers_are_spread_over_the_depth(n_layers: int) -> None:
    found = spread_layers(range(n_layers))
    assert len(found) == min(12, n_layers) and found[-1] == n_layers - 1
    steps = np.diff(found)
    assert n_layers < 2 or steps.max() - steps.min() <= 1


@pytest.mark.parametrize("without", ["--model", "--out", "sets"])
def test_what_is_missing_is_named(folder: Path, tmp_path: Path, without: str) -> None:
    arguments = {"--model": folder / "random", "--out": tmp_path / "out"}
    given = [part for pair in arguments.items() if pair[0] != without for part in pair]
    with pytest.raises(UserError, match="no stimulus set" if without == "sets" else without):
        said(*([] if without == "sets" else ["prompt"]), *given)


def test_unknown_models_and_odd_weights_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        said("prompt", "--model", tmp_path / "nowhere", "--out", tmp_path / "out")
    from transformers import AutoModelForCausalLM

    broken = AutoModelForCausalLM.from_pretrained(folder / "random")
    with torch.no_grad():
        broken.model.layers[1].mlp.down_proj.weight.fill_(float("inf"))
    broken.save_pretrained(tmp_path / "broken")
    load_language_model(str(folder / "random")).tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(UserError, match="not finite"):
        said("prompt", "--model", tmp_path / "broken", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(folder: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "meta.yaml"):
        out = tmp_path / name.replace(".", "-")
        out.mkdir()
        (out / name).write_text("mine", "utf-8")
        with pytest.raises(UserError, match=name):
            said(*shipped_arguments(folder, out))
        assert [p.name for p in out.iterdir()] == [name]
        assert (out / name).read_text("utf-8") == "mine"


def test_single_stimuli_may_be_both_readings_of_ep06(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said("ep06", "ep06-joined", "--vector", "each", "--model", folder / "random", "--out", out)
    found = texts(out)
    assert {"decoded-ep06-l00", "decoded-ep06-joined-l00", "random-prompt-l00"} <= set(found)
    assert not any(name.startswith("permuted") for name in found)


def test_of_one_stimulus_the_mean_is_the_stimulus_itself(folder: Path, tmp_path: Path) -> None:
    for vector in ("mean", "each"):
        options = ("--vector", vector, "--model", folder / "random", "--out", tmp_path / vector)
        said("ea07", *options)
    mean, each = texts(tmp_path / "mean"), texts(tmp_path / "each")
    assert [mean[f"decoded-attack-l0{n}"] for n in (0, 1)] == [
        each[f"decoded-ea07-l0{n}"] for n in (0, 1)
    ]
    assert mean["random-attack-l00"] == each["random-attack-l00"]


def test_names_that_are_no_ids_become_ids(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ["ep02+ea03", "+".join(f"ep{n:02}" for n in range(1, 12)), "Wie schön ist das!"]
    said(*names, "--vector", "each", "--model", folder / "random", "--out", out)
    found = load_set(out / "meta.yaml")
    assert len({s.id for s in found.stimuli}) == len(found.stimuli)
    assert {s.decoded.source for s in found.stimuli if s.decoded} == {
        "attack+prompt",
        "prompt",
        "own",
        "placebo",
    }


def in_run(run: Path, **options: Any) -> Any:
    return asked_in_run(read_runs([run], count_tokens=False).scores, "contrast", **options)


def test_a_runs_arms_are_found_in_its_prompts(mini_run: Path) -> None:
    asked = in_run(mini_run)
    assert {name: [s.id for s in own] for name, own in asked.sources.items()} == {
        "attack": ["ea01", "ea02", "ea03"]
    }
    assert len(asked.placebos) == 4
    placed = list(asked.prompts)
    assert asked.run is not None and not asked.run.left_out
    assert len(placed) == asked.n_prompts == 7 * asked.n_questions
    texts_of = {s.id: s.text for s in (*asked.sources["attack"], *asked.placebos)}
    for one in placed:
        assert one.text[one.first : one.last] == texts_of[one.stimulus]
        is_placebo = one.stimulus not in ("ea01", "ea02", "ea03")
        assert one.groups == (("attack", PLACEBO) if is_placebo else ("attack",))
    assert asked.context == f"{asked.n_questions} questions of the run"


def test_questions_are_drawn_and_arms_chosen(mini_run: Path) -> None:
    asked = in_run(mini_run, sets=["ea03"], placebos=["neutral-5"], n_questions=3, seed=4)
    placed = list(asked.prompts)
    assert asked.n_questions == 3 and {p.stimulus for p in placed} == {"ea03", "neutral-5"}
    again = in_run(mini_run, sets=["ea03"], placebos=["neutral-5"], n_questions=3, seed=4)
    assert list(again.prompts) == placed
    with pytest.raises(UserError, match="'ea04'"):
        in_run(mini_run, sets=["ea04"])
    with pytest.raises(UserError, match="prompt"):
        in_run(mini_run, sets=["prompt"])
    with pytest.raises(UserError, match="self-check"):
        in_run(mini_run, placebos=["self-check"])


def test_a_family_is_read_where_all_of_it_was_asked(mini_run: Path) -> None:
    from dataclasses import replace

    scores = [one for one in read_runs([mini_run], count_tokens=False).scores if one.primary]
    whole = asked_in_run(scores, "contrast")
    n_whole = len(list(whole.prompts))
    first = scores[0]
    kept = [i for i, arm in enumerate(first.arms) if arm.id != "ea03"]
    part = replace(
        first,
        arms=tuple(first.arms[i] for i in kept),
        scores=first.scores[:, kept],
        truncated=None,
    )
    asked = asked_in_run([part, *scores[1:]], "contrast")
    n = len(first.questions)
    assert len(list(asked.prompts)) == n_whole - 7 * n
    assert asked.run is not None
    assert asked.run.left_out == {"questions that were not asked under all of attack": n}


def test_a_question_is_read_under_all_arms_or_not_at_all(
    mini_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from emo_harness.decode import run_stimuli

    plain = run_stimuli.read_answers

    def lost_in_the_first(lines: Any) -> Any:
        answers = plain(lines)
        spoilt = answers[0].prompts | {"ea02": "Q: what?"}
        return [replace(answers[0], prompts=spoilt), *answers[1:]]

    whole = in_run(mini_run)
    n = len(list(whole.prompts))
    monkeypatch.setattr(run_stimuli, "read_answers", lost_in_the_first)
    asked = in_run(mini_run)
    assert len(list(asked.prompts)) == n - 2 * 7, "the first question of each subtask"
    assert asked.run is not None and set(asked.run.left_out.values()) == {2}
    assert "ea02 nowhere" in next(iter(asked.run.left_out))

    def nowhere(lines: Any) -> Any:
        return [replace(a, prompts=dict.fromkeys(a.prompts, "Q: what?")) for a in plain(lines)]

    monkeypatch.setattr(run_stimuli, "read_answers", nowhere)
    with pytest.raises(UserError, match="nowhere"):
        list(in_run(mini_run).prompts)


def test_a_run_is_read_in_another_model_only_by_force(
    folder: Path, mini_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(mini_run, tmp_path / "run")
    options = ("--run", run, "--model", folder / "random", "--questions", 2)
    with pytest.raises(UserError, match="--force"):
        said(*options)
    assert not (run / "posthoc" / "decode.json").exists()
    said(*options, "--force", "--out", tmp_path / "out")
    posthoc = run / "posthoc"
    told = json.loads((posthoc / "decode.json").read_text("utf-8"))
    assert told["forced"] and told["context"] == "2 questions of the run"
    assert told["n_questions"] == 2
    for file in OWN_FILES[:3]:
        assert (posthoc / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    with pytest.raises(UserError, match="--context with --run"):
        said("--run", run, "--context", "bbh")
