"""Visual tasks: arms, prompts, requests, scores, and what lm-eval makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from emo_harness.errors import UserError
from tests.conftest import build_task
from tests.images.image_sets import write_image_set
from tests.lm_tasks.test_parity import chat_template, our_task, renderings, upstream_task

TASK = "emo_bbh_visual_mini_attack_boolean_expressions"
EA01 = "Your friend Bob is sick."


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture
def visual(images: Path) -> Callable[..., Any]:
    return lambda name=TASK, **emo: build_task(name, images=str(images), **emo)


def built(task: Any, **rendering: Any) -> dict[str, Any]:
    """The requests of the first question by arm."""
    task.build_all_requests(limit=1, rank=0, world_size=1, **rendering)
    per_arm = len(task.instances) // len(task.arms)
    return {arm.id: task.instances[i * per_arm] for i, arm in enumerate(task.arms)}


def prompts(task: Any, **rendering: Any) -> dict[str, str]:
    return {arm: request.args[0] for arm, request in built(task, **rendering).items()}


def arm_ids(task: Any) -> list[str]:
    return [arm.id for arm in task.arms]


def test_default_arms_are_two_images_of_each_concept_with_their_controls(
    visual: Callable[..., Any],
) -> None:
    concepts = ("fear", "sadness")
    assert arm_ids(visual()) == [
        "control",
        *(f"img:{c}-1-twin" for c in concepts),
        *(f"img:pixel-scrambled:{c}-1" for c in concepts),
        *(f"img:phase-scrambled:{c}-1" for c in concepts),
        *(f"img:{c}-{i}" for c in concepts for i in (1, 2)),
    ]
    kinds = {arm.stimulus.placebo for arm in visual().arms if arm.kind == "placebo"}
    assert kinds == {"neutral", "pixel-scrambled", "phase-scrambled"}
    assert "img:grey" in arm_ids(visual(control_image="none"))
    assert len(visual(images_per_concept=3).arms) == 1 + 6 + 6
    assert len(visual(placebos=2).arms) == 1 + 12 + 4
    assert arm_ids(visual(placebos=0, stimuli=["img:fear-1"])) == ["control", "img:fear-1"]


def test_placebos_by_name(visual: Callable[..., Any]) -> None:
    named = ["twins", "no-image", "img:pixel-scrambled:fear-2", "neutral-12"]
    task = visual(stimuli=["img:fear-1", "img:fear-2"], placebos=named)
    assert arm_ids(task)[1:-2] == [
        "img:fear-1-twin",
        "img:fear-2-twin",
        "no-image",
        "img:pixel-scrambled:fear-2",
        "neutral-12",
    ]
    assert [len(r.args) for r in built(task).values()] == [3, 3, 3, 2, 3, 3, 3, 3]
    with pytest.raises(UserError, match="same prompt"):
        visual(control_image="none", placebos=["no-image"])
    with pytest.raises(UserError, match="not a placebo"):
        visual(placebos=["img:fear-1"])
    with pytest.raises(UserError, match="nearest: 'twins'"):
        visual(placebos=["twin"])
    with pytest.raises(UserError, match="placebos = -1"):
        visual(placebos=-1)


def test_an_empty_list_asks_control_and_placebos_alone(visual: Callable[..., Any]) -> None:
    task = visual(stimuli=[])
    assert [arm.kind for arm in task.arms] == ["control", *["placebo"] * 6]


def test_every_prompt_is_upstreams_with_one_image(
    visual: Callable[..., Any], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = visual()
    made = built(task)
    rows = task.eval_docs.to_list()
    upstream = upstream_task("boolean_expressions", "zeroshot", rows, monkeypatch)
    upstream.build_all_requests(limit=1, rank=0, world_size=1)
    text, settings = upstream.instances[0].args
    assert {request.args[:2][0] for request in made.values()} == {f"<image>\n{text}"}
    for arm_id, request in made.items():
        assert request.args[1] == settings
        assert request.args[2] == {"visual": [task.shown.images[arm_id]]}
    grey = made["control"].args[2]["visual"][0]
    assert len(set(grey.getdata())) == 1
    assert len({id(r.args[2]["visual"][0]) for r in made.values()}) == len(made)


def test_control_without_an_image_is_upstream_byte_for_byte(
    published_folder: Path, images: Path
) -> None:
    emo = {"images": str(images), "control_image": "none", "data_dir": str(published_folder)}
    task = build_task("emo_bbh_visual_attack_navigate", **emo)
    text_task = our_task("navigate", "zeroshot", published_folder)
    for rendering in renderings():
        for one in (task, text_task):
            one.build_all_requests(rank=0, world_size=1, **rendering)
        controls = task.instances[:: len(task.arms)]
        theirs = text_task.instances[:: len(text_task.arms)]
        assert [c.args for c in controls] == [c.args for c in theirs]


def test_an_image_last_stands_where_a_sentence_would(visual: Callable[..., Any]) -> None:
    stimuli = ["img:fear-1", "img:fear-2+ea01", "ea01"]
    made = prompts(visual(stimuli=stimuli, image_order="last", control_image="none", placebos=0))
    asked = made["control"].removesuffix("\nA:")
    assert made["img:fear-1"] == f"{asked}\n<image>\nA:"
    assert made["img:fear-2+ea01"] == f"{asked}\n{EA01}\n<image>\nA:"
    assert made["ea01"] == f"{asked}\n{EA01}\nA:"


@pytest.mark.parametrize("placement", ["suffix", "instruction", "prefix"])
def test_sentences_beside_images_take_the_placement(
    placement: str, visual: Callable[..., Any]
) -> None:
    task = visual(stimuli=["img:fear-2+ea01", "ea01"], placement=placement, placebos=0)
    alone = prompts(
        build_task("emo_bbh_mini_attack_boolean_expressions", stimuli="ea01", placement=placement)
    )["ea01"]
    made = prompts(task)
    assert made["img:fear-2+ea01"] == made["ea01"] == f"<image>\n{alone}"
    shown = {arm: request.args[2]["visual"][0] for arm, request in built(task).items()}
    assert shown["ea01"] is shown["control"] is not shown["img:fear-2+ea01"]


def multimodal_template(messages: list[dict], **kwargs: bool) -> str:
    """Changes the messages as lm-eval's multimodal model does."""
    for message in messages:
        parts = message["content"].split("<image>")
        message["content"] = "[image]".join(parts)
    return chat_template(messages, **kwargs)


@pytest.mark.parametrize("multiturn", [False, True])
def test_in_chat_the_image_begins_the_users_last_turn(
    multiturn: bool, visual: Callable[..., Any]
) -> None:
    chat = {
        "apply_chat_template": True,
        "chat_template": multimodal_template,
        "fewshot_as_multiturn": multiturn,
        "system_instruction": "Be terse.",
    }
    first = prompts(visual(stimuli=["img:fear-1"], placebos=0), **chat)["img:fear-1"]
    assert "<user>[image]\nQ:" in first and first.count("[image]") == 1
    last = prompts(visual(stimuli=["img:fear-1"], placebos=0, image_order="last"), **chat)
    assert "\n[image]\nA:</user>" in last["img:fear-1"]
    system = prompts(visual(stimuli=["img:fear-1+ea01"], placebos=0, placement="system"), **chat)[
        "img:fear-1+ea01"
    ]
    assert f"Be terse.\n\n{EA01}" in system and "<user>[image]\nQ:" in system


def test_worked_examples_have_no_image(published_folder: Path, images: Path) -> None:
    from emo_harness.lm_tasks.visual_prompts import before_last_turn

    shots = [
        {"role": "user", "content": "Q: 1"},
        {"role": "assistant", "content": "A: 2"},
        {"role": "user", "content": "Q: 3"},
    ]
    placed = before_last_turn(shots)
    assert [m["content"] for m in placed] == ["Q: 1", "A: 2", "<image>\nQ: 3"]
    assert shots[2]["content"] == "Q: 3"
    task = build_task(
        "emo_bbh_visual_attack_navigate", images=str(images), data_dir=str(published_folder)
    )
    task.set_config("num_fewshot", 2)
    task.set_fewshot_seed(1234)
    made = prompts(task)
    assert {text.count("<image>") for text in made.values()} == {1}
    assert made["control"].count("Q:") == 3 and made["control"].startswith("<image>\n")


def test_the_word_for_an_image_is_refused_in_questions_and_sentences(
    visual: Callable[..., Any],
) -> None:
    with pytest.raises(UserError, match="'<image>' 2 times"):
        built(visual(stimuli=["img:fear-1+ea01", "Look at <image> now."], placebos=0))
    chat = {"apply_chat_template": True, "chat_template": multimodal_template}
    with pytest.raises(UserError, match="'<image>' 2 times"):
        built(visual(stimuli="Look at <image> now.", placebos=0), **chat)


@pytest.mark.parametrize(
    ("name", "stimuli", "fix"),
    [
        (TASK, ["img:money-1"], "emo_bbh_visual_mini_all_boolean_expressions"),
        (TASK, ["img:money-1+ea01"], "_all"),
        (TASK, ["ep02"], "_all"),
        ("emo_calibration_visual_prompt", ["img:fear-1"], "emo_calibration_visual_all"),
    ],
)
def test_another_family_is_sent_to_its_task(
    name: str, stimuli: list[str], fix: str, visual: Callable[..., Any]
) -> None:
    with pytest.raises(UserError) as told:
        visual(name, stimuli=stimuli)
    assert fix in told.value.fix


def test_text_tasks_refuse_images() -> None:
    with pytest.raises(UserError, match="shows no images"):
        build_task("emo_bbh_mini_attack_navigate", stimuli=["img:fear-1"])


class ImageLM(LM):
    """Right unless shown the image of one arm; looks at every request on its own."""

    MULTIMODAL = True

    def __init__(self, wrong: Sequence[Any]) -> None:
        super().__init__()
        self.wrong = {id(image) for image in wrong}

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return [self._answer(r) for r in requests]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        return [(0.0 if r.args[1].strip() == self._answer(r) else -1.0, False) for r in requests]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        raise AssertionError("not asked for")

    def _answer(self, request: Any) -> str:
        right = request.doc["target"]
        shown = request.args[2]["visual"] if len(request.args) > 2 else []
        is_wrong = any(id(image) in self.wrong for image in shown)
        return {"True": "False", "False": "True"}[right] if is_wrong else right


def evaluated(task: Any, wrong: Sequence[str], **kwargs: Any) -> dict[str, Any]:
    results = simple_evaluate(
        ImageLM([task.shown.images[arm] for arm in wrong]),
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        **kwargs,
    )
    assert results is not None
    return results


@pytest.mark.parametrize(
    ("name", "metric", "filter_name"),
    [
        (TASK, "exact_match", "flexible-extract"),
        ("emo_bbh_visual_mini_mc_attack_boolean_expressions", "acc", "none"),
        ("emo_calibration_visual_attack", "exact_match", "flexible-extract"),
        ("emo_calibration_visual_mc_attack", "acc", "none"),
    ],
)
def test_numbers_in_lm_evals_table(
    name: str, metric: str, filter_name: str, visual: Callable[..., Any]
) -> None:
    task = visual(name, questions=3)
    wrong = ["img:fear-1", "img:fear-2", "img:fear-1-twin", "img:pixel-scrambled:fear-1"]
    row = evaluated(task, wrong)["results"][name]
    told = {key: row[f"{metric}{key},{filter_name}"] for key in ("", "_control", "_placebo")}
    assert told == {"": 0.5, "_control": 1.0, "_placebo": 0.5}
    assert row[f"{metric}_gain,{filter_name}"] == -0.5
    assert row[f"{metric}_gain_vs_placebo,{filter_name}"] == 0.0
    assert row[f"{metric}_scrambled,{filter_name}"] == 0.75
    assert row[f"{metric}_gain_vs_scrambled,{filter_name}"] == -0.25
    assert row[f"{metric}_worst,{filter_name}"] == 0.0


def test_images_are_held_against_their_own_controls_and_never_anothers(
    visual: Callable[..., Any],
) -> None:
    wrong = ["img:fear-1", "img:fear-1-twin", "img:pixel-scrambled:fear-1"]
    row = evaluated(visual(), [*wrong, "img:fear-2", "img:sadness-2"])["results"][TASK]
    # Fear-1 is as its twin is, and what fear-2 and sadness-2 do, without a twin, has no part in it.
    assert row["exact_match_gain,flexible-extract"] == -0.75
    assert row["exact_match_gain_vs_placebo,flexible-extract"] == 0.0
    assert row["exact_match_gain_vs_scrambled,flexible-extract"] == -0.25
    beside = visual(stimuli=["img:fear-1", "img:fear-2", "img:fear-2+ea01"])
    names = set(beside.aggregation())
    assert {"exact_match_gain_vs_placebo", "exact_match_gain_vs_scrambled"} <= names
    assert not any("attack+visual-attack_gain_vs" in name for name in names)
    assert "img:fear-1-twin" in arm_ids(beside)


def test_families_beside_the_tasks_own_are_reported_by_name(visual: Callable[..., Any]) -> None:
    task = visual(stimuli=["img:fear-1", "img:fear-2+ea01", "ea01"])
    row = evaluated(task, ["img:fear-2+ea01"])["results"][TASK]
    gains = {k.split(",")[0]: v for k, v in row.items() if k.endswith("_gain,flexible-extract")}
    assert gains == {
        "exact_match_gain": 0.0,
        "exact_match_attack+visual-attack_gain": -1.0,
        "exact_match_attack_gain": 0.0,
    }
    both = visual("emo_bbh_visual_mini_all_boolean_expressions", placebos=0)
    names = set(both.aggregation())
    assert {"exact_match_visual-attack_gain", "exact_match_visual-prompt_best"} <= names
    assert "exact_match_gain" not in names


def test_samples_hold_hashes_and_no_images(visual: Callable[..., Any]) -> None:
    results = evaluated(visual(control_image="none"), ["img:fear-1"])
    for sample in results["samples"][TASK]:
        json.dumps(sample)
        control, *others = sample["arguments"]
        assert len(control) == 2
        assert all(len(other[2]["visual"][0]) == 64 for other in others)
    record = results["configs"][TASK]["metadata"]["emo"]
    json.dumps(record)
    assert (record["image_set"], record["image_order"]) == ("tiny", "first")
    assert record["control_image"] == "none" and record["family"] == "visual-attack"
    fear = next(arm for arm in record["arms"] if arm["id"] == "img:fear-1")
    assert fear["image"]["concept"] == "fear" and len(fear["image"]["sha256"]) == 64


def test_other_pixels_are_other_stimuli(tmp_path: Path, images: Path) -> None:
    other = write_image_set(tmp_path / "tiny", seed=5)
    one, two = (build_task(TASK, images=str(f)).config.metadata["emo"] for f in (images, other))
    assert one["stimuli_sha256"] != two["stimuli_sha256"]
    assert [a["id"] for a in one["arms"]] == [a["id"] for a in two["arms"]]


def test_lm_evals_own_models_are_refused_what_they_cannot_do(visual: Callable[..., Any]) -> None:
    from lm_eval.models.hf_vlms import HFMultimodalLM

    stock = object.__new__(HFMultimodalLM)
    template = {"apply_chat_template": True, "chat_template": stock.apply_chat_template}
    with pytest.raises(UserError, match="cannot have both"):
        visual(control_image="none").build_all_requests(rank=0, world_size=1, **template)
    with pytest.raises(UserError, match="multiple choice with images"):
        visual("emo_calibration_visual_mc_attack", questions=2).build_all_requests(
            rank=0, world_size=1, **template
        )


def test_the_asking_model_is_found_without_a_chat_template(
    visual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A class of lm-eval's looks at the first request only; this one says it is of lm-eval.
    monkeypatch.setattr(ImageLM.generate_until, "__module__", "lm_eval.models.hf_vlms")
    with pytest.raises(UserError, match="cannot have both"):
        evaluated(visual(control_image="none"), [])
    assert evaluated(visual(control_image="grey"), [])


def test_the_asking_model_is_found_behind_its_kept_answers(
    visual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ImageLM.generate_until, "__module__", "lm_eval.models.hf_vlms")
    with pytest.raises(UserError, match="cannot have both"):
        evaluated(visual(control_image="none"), [], use_cache=str(tmp_path / "kept"))


def test_a_text_model_is_refused_before_it_is_loaded() -> None:
    from emo_harness.lm_tasks.host import run

    with pytest.raises(UserError, match="text alone"):
        run(["--model", "hf", "--tasks", TASK, "--model_args", "pretrained=no/such"])


def test_a_text_model_is_refused_by_lm_eval(visual: Callable[..., Any]) -> None:
    from tests.conftest import scripted_model

    with pytest.raises(ValueError, match="multimodal"):
        simple_evaluate(
            scripted_model(lambda _: "True"),
            tasks=[visual()],
            task_manager=TaskManager(include_defaults=False),
        )
