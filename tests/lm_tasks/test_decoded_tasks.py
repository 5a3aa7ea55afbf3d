"""Tasks of family `decoded`: every layer's meta prompt an arm, the controls arms."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from emo_harness.benchmarks import bbh_mini
from emo_harness.errors import UserError
from emo_harness.lm_tasks.arms import TASK_FAMILIES, arms_of
from emo_harness.lm_tasks.expand import DECODED as EXPANDED
from emo_harness.lm_tasks.expand import declarations, metric_names, write_expanded
from emo_harness.lm_tasks.options import read_options
from emo_harness.runs import read_runs
from emo_harness.stimuli import DECODED, Decoding, content_hash, load_set
from tests.conftest import answers_mini, build_task, scripted_model, write_run
from tests.lm_tasks.decoded_sets import entry, meta_entries, write_set
from tests.lm_tasks.test_parity import renderings, upstream_task

LAYERS = (0, 4, 11)
TASK = "emo_bbh_mini_decoded_navigate"
WORDS = "acc", "acc_gain", "acc_gain_vs_placebo", "acc_worst"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Meta prompts of two sources at three layers, with their controls."""
    return str(write_set(tmp_path_factory.mktemp("both") / "meta.yaml", meta_entries(LAYERS)))


@pytest.fixture(scope="module")
def one_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("one") / "meta.yaml"
    return str(write_set(path, meta_entries(LAYERS, ("prompt",))))


def arms(family: str, **emo: Any) -> Any:
    return arms_of(family, read_options({"emo": emo}), f"emo_bbh_{family}")


def test_a_decoded_task_without_a_set_says_how_to_make_and_name_one() -> None:
    with pytest.raises(UserError) as raised:
        build_task(TASK)
    told = raised.value
    assert TASK in told.doing and "`emo decode prompt attack" in told.fix
    assert """--metadata '{"emo": {"stimuli": "DIR/meta.yaml"}}'""" in told.fix


def test_every_benchmark_and_mode_has_a_decoded_group() -> None:
    assert EXPANDED == DECODED
    textual = [d for d in declarations() if "families" in d]
    assert textual and all(DECODED in declared["families"] for declared in textual)


def test_meta_prompts_are_stimuli_and_controls_placebos_beside_the_neutral_ones(both: str) -> None:
    made = arms("decoded", stimuli=both)
    assert made[0].id == "control" and len(made) == 1 + 5 + 27
    kinds = {a.id: (a.kind, a.stimulus.placebo) for a in made[1:] if a.stimulus}
    assert kinds["decoded-attack-l11"] == ("stimulus", None)
    for name in ("random-prompt", "permuted-prompt", "shuffled-prompt", "neutral"):
        assert kinds[f"{name}-l04"] == ("placebo", "decoded")
    assert [i for i, (_, p) in kinds.items() if p == "neutral"] == [
        "neutral-12", "neutral-25", "neutral-5", "neutral-50",
    ]  # fmt: skip
    order = [a.kind for a in made]
    assert order == sorted(order, key=["control", "placebo", "stimulus"].index)


@pytest.mark.parametrize("family", ["attack", "prompt", "negative"])
def test_a_decoded_set_under_another_family_is_sent_to_its_own_task(both: str, family: str) -> None:
    with pytest.raises(UserError, match="use emo_bbh_decoded"):
        arms(family, stimuli=both)
    with pytest.raises(UserError, match=f"use emo_bbh_{family}"):
        arms("decoded", stimuli=family)


def test_decoded_and_other_families_stand_side_by_side_in_all_alone(both: str) -> None:
    for stimuli in ([both, "attack"], [both, "Hurry up now."]):
        with pytest.raises(UserError, match="`_all` task"):
            arms("decoded", stimuli=stimuli)
        assert len(arms("all", stimuli=stimuli)) > 33
    mixed = [both, "decoded-prompt-l04+ep02"]
    with pytest.raises(UserError, match="`_all` task"):
        arms("decoded", stimuli=mixed)
    assert arms("all", stimuli=mixed)[-1].stimulus.family == "decoded-prompt+prompt"


def test_no_shipped_family_is_left_out_of_the_check() -> None:
    assert set(TASK_FAMILIES) == {"attack", "prompt", "negative", "decoded"}


def reported(stimuli: Any, task: str = "emo_calibration_decoded", **emo: Any) -> set[str]:
    built = build_task(task, stimuli=stimuli, questions=2, **emo)
    return {n for n in built.aggregation() if not n.endswith("by_arm") and n != "unparsed"}


def stem(source: str) -> set[str]:
    return {name.replace("acc", f"acc_decoded-{source}", 1) for name in WORDS}


def test_several_sources_are_reported_apart_and_one_under_plain_names(
    both: str, one_source: str
) -> None:
    shared = {"acc_control", "acc_placebo"}
    assert reported(one_source) == {*WORDS, *shared}
    assert reported(both) == stem("prompt") | stem("attack") | shared
    chosen = [both, "decoded-prompt-l00+decoded-prompt-l04"]
    assert reported(chosen) == reported(both)
    everything = reported([both, "prompt"], "emo_calibration_all")
    assert stem("prompt") | stem("attack") < everything and "acc_prompt_best" in everything
    assert not set(WORDS) & everything
    assert {n.replace("acc", "exact_match", 1) for n in reported(both) | reported(one_source)} <= (
        set(metric_names("exact_match", "decoded"))
    )


def test_the_gain_against_placebo_is_against_the_neutral_sentences_alone(both: str) -> None:
    task = build_task("emo_calibration_decoded", stimuli=both, questions=20)
    doc = task.eval_docs[0]
    right = [(0.0 if o == doc["target"] else -5.0, False) for o in task.doc_to_choice(doc)]
    wrong = [(-score, greedy) for score, greedy in right]

    def scored(is_right: Any) -> dict[str, Any]:
        answers = [r for a in task.arms for r in (right if is_right(a) else wrong)]
        return task.process_results(doc, answers)

    neutral_alone = scored(lambda a: a.stimulus and a.stimulus.placebo == "neutral")
    assert neutral_alone["acc_placebo"] == 1.0
    assert neutral_alone["acc_decoded-prompt_gain_vs_placebo"] == -1.0
    controls_alone = scored(lambda a: a.stimulus and a.stimulus.placebo == "decoded")
    assert controls_alone["acc_placebo"] == controls_alone["acc_decoded-prompt"] == 0.0
    one = scored(lambda a: a.id == "decoded-prompt-l04")
    assert one["acc_decoded-prompt_gain"] == pytest.approx(1 / 3)
    assert one["acc_decoded-attack_gain"] == 0.0


@pytest.mark.parametrize("mode", ["zeroshot", "cot"])
@pytest.mark.parametrize("subtask", ["navigate", "boolean_expressions", "word_sorting"])
def test_control_beside_decoded_arms_is_upstreams_byte_for_byte(
    subtask: str, mode: str, both: str, published_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bbh_mini.questions(subtask).rows
    upstream = upstream_task(subtask, mode, rows, monkeypatch)
    group = {"zeroshot": "emo_bbh_mini_decoded", "cot": "emo_bbh_cot_decoded"}[mode]
    folder = {"zeroshot": {}, "cot": {"data_dir": str(published_folder)}}[mode]
    ours = build_task(f"{group}_{subtask}", stimuli=both, **folder)
    ours.set_fewshot_seed(1234)
    texts = [a.stimulus.text for a in ours.arms if a.stimulus]
    for rendering in renderings():
        for task in (upstream, ours):
            task.build_all_requests(rank=0, world_size=1, **rendering)
        n = len(ours.arms)
        control = ours.instances[::n]
        assert [i.args for i in control] == [i.args for i in upstream.instances]
        assert [i.doc for i in control] == [i.doc for i in upstream.instances]
        for number in range(len(rows)):
            asked = ours.instances[number * n + 1 : (number + 1) * n]
            assert all(t in i.args[0] for t, i in zip(texts, asked, strict=True))


def test_a_run_holds_how_each_arm_was_decoded_and_gives_it_back(both: str, tmp_path: Path) -> None:
    stimuli = {s.id: s for s in load_set(both).stimuli}
    names = ("boolean_expressions", "navigate")
    tasks = [build_task(f"emo_bbh_mini_decoded_{name}", stimuli=both) for name in names]
    folder = write_run(tmp_path / "run", tasks, answers_mini)
    logged = json.loads(next(folder.rglob("results_*.json")).read_text("utf-8"))
    recorded = logged["configs"][TASK]["metadata"]["emo"]["arms"]
    written = [a for a in recorded if "decoded" in a]
    assert len(written) == len(stimuli)
    for arm in written:
        assert Decoding.model_validate(arm["decoded"]) == stimuli[arm["id"]].decoded
    read_back = read_runs([folder], progress=False).scores
    assert {s.subtask for s in read_back} == set(names)
    for scores in read_back:
        assert scores.family == "decoded"
        known = {a.id: a for a in scores.arms}
        for stimulus in stimuli.values():
            arm = known[stimulus.id]
            assert arm.decoded == stimulus.decoded and arm.text == stimulus.text
            assert arm.family == stimulus.lineage and arm.placebo == stimulus.placebo
        assert {a.family for a in scores.arms if a.kind == "stimulus"} == {
            "decoded-prompt",
            "decoded-attack",
        }
        assert known["control"].decoded is known["neutral-5"].decoded is None


def test_two_runs_of_one_set_become_one_with_the_whole_sets_hash(both: str, tmp_path: Path) -> None:
    halves = [
        [both, "decoded-prompt-l00+decoded-prompt-l04"],
        str(write_set(tmp_path / "meta.yaml", [*meta_entries((0,)), entry("attack", 7)])),
    ]
    for number, stimuli in enumerate(halves):
        write_run(tmp_path / str(number), [build_task(TASK, stimuli=stimuli)], answers_mini)
    merged = [s for s in read_runs([tmp_path], progress=False).scores if s.primary]
    (one,) = merged
    own = {a.stimulus.id: a.stimulus for h in halves for a in arms("decoded", stimuli=h)[1:]}
    assert {a.id for a in one.arms} == {"control", *own}
    assert one.stimuli_sha256 == content_hash(own[a.id] for a in one.arms[1:])


def test_nothing_in_a_decoded_task_depends_on_the_model_that_decoded(
    both: str, tmp_path: Path
) -> None:
    elsewhere = [
        {**e, "decoded": {**e["decoded"], "model": "org/another", "model_id": "abc"}}
        for e in meta_entries(LAYERS)
    ]
    other = str(write_set(tmp_path / "meta.yaml", elsewhere))
    asked = []
    for stimuli in (both, other):
        task = build_task(TASK, stimuli=stimuli)
        task.build_all_requests(rank=0, world_size=1)
        asked.append([(i.idx, i.args) for i in task.instances])
    assert asked[0] == asked[1]


def test_a_group_averages_each_source_and_lm_eval_warns_of_none_that_is_absent(
    both: str,
    one_source: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_expanded(tmp_path)
    # lm-eval's logger may have been cut off from the root's handlers.
    lm_eval_log = logging.getLogger("lm_eval")
    monkeypatch.setattr(lm_eval_log, "handlers", [*lm_eval_log.handlers, caplog.handler])
    for stimuli, expected in (
        (both, "exact_match_decoded-attack_gain"),
        (one_source, "exact_match_gain"),
    ):
        manager = TaskManager(
            include_defaults=False,
            include_path=str(tmp_path),
            metadata={"emo": {"stimuli": stimuli, "placebos": 1}},
        )
        results = simple_evaluate(
            scripted_model(lambda prompt: "Yes"),
            tasks=["emo_bbh_mini_decoded"],
            task_manager=manager,
            bootstrap_iters=0,
            limit=1,
        )
        row = results["groups"]["emo_bbh_mini_decoded"]
        leaves = [r for n, r in results["results"].items() if n.startswith("emo_bbh_mini_decoded_")]
        assert len(leaves) == 27
        for filter_name in ("flexible-extract", "strict-match"):
            key = f"{expected},{filter_name}"
            assert row[key] == pytest.approx(sum(leaf[key] for leaf in leaves) / 27)
            assert f"exact_match_control,{filter_name}" in row
    assert "no values found" not in caplog.text and "missing in" not in caplog.text


def test_a_hundred_and_twenty_arms_keep_their_answers_apart(tmp_path: Path) -> None:
    path = str(write_set(tmp_path / "meta.yaml", meta_entries(tuple(range(13)))))
    task = build_task("emo_calibration_decoded", stimuli=path, questions=20)
    assert len(task.arms) == 1 + 5 + 117
    liked = {f"decoded-prompt-l{layer:02}" for layer in range(0, 13, 2)} | {"random-attack-l03"}
    texts = [a.stimulus.text for a in task.arms if a.id in liked]

    def answer(prompt: str) -> str:
        return "True" if any(text in prompt for text in texts) else "False"

    folder = write_run(tmp_path / "run", [task], answer)
    (scores,) = read_runs([folder], progress=False).scores
    is_true = [doc["target"] == "True" for doc in task.eval_docs]
    for column, arm in enumerate(scores.arms):
        expected = [float(t == (arm.id in liked)) for t in is_true]
        assert scores.scores[:, column].tolist() == expected, arm.id
