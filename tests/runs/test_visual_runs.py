"""Runs whose arms show images: read back, told apart, and refused where text is all there is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.run_model import read_model_runs
from emo_harness.runs import find_tasks, read_answers, read_runs, run_prompts
from tests.conftest import build_task
from tests.images.image_sets import write_image_set
from tests.lm_tasks.test_visual_task import ImageLM

TASK = "emo_bbh_visual_mini_attack_boolean_expressions"


def visual_run(folder: Path, images: Path, wrong: str = "img:fear-1", **emo: Any) -> Path:
    """A run folder that lm-eval writes; the answer is wrong where one image is shown."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    task = build_task(TASK, images=str(images), **emo)
    tracker = EvaluationTracker(output_path=str(folder))
    results = simple_evaluate(
        ImageLM([task.shown.images[wrong]]),
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        evaluation_tracker=tracker,
        model_args="pretrained=org/images",
    )
    assert results is not None
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    return visual_run(tmp_path_factory.mktemp("run"), images)


def primary(*folders: Path) -> list[Any]:
    return [one for one in read_runs(folders, progress=False).scores if one.primary]


def test_scores_and_images_are_read_back(run: Path) -> None:
    (scores,) = primary(run)
    arms = {arm.id: arm for arm in scores.arms}
    by_arm = dict(zip(arms, scores.scores.T.tolist(), strict=True))
    assert by_arm["img:fear-1"] == [0, 0, 0] and by_arm["control"] == [1, 1, 1]
    shown = arms["img:fear-1"].image
    assert shown is not None and (shown.set, shown.concept) == ("tiny", "fear")
    assert arms["img:fear-1"].family == "visual-attack" and arms["img:fear-1"].text == ""
    twin = arms["img:fear-1-twin"]
    assert twin.told == "[neutral twin of fear-1]"
    assert arms["img:fear-1"].told == "[image of fear]"
    assert arms["img:phase-scrambled:fear-1"].told == "[phase-scrambled copy of fear-1]"
    assert twin.placebo == "neutral" and twin.image and twin.image.twin_of == "fear-1"
    copy = arms["img:phase-scrambled:fear-1"].image
    assert copy is not None and copy.derived == "phase-scrambled"
    assert arms["control"].image is None
    (answer,) = read_answers(scores.lines[:1])
    assert answer.prompts["img:fear-1"].startswith("<image>\n")


def test_how_images_were_shown_is_a_setting(run: Path, images: Path, tmp_path: Path) -> None:
    others = [
        visual_run(tmp_path / "none", images, control_image="none"),
        visual_run(tmp_path / "last", images, image_order="last"),
        visual_run(tmp_path / "set", write_image_set(tmp_path / "other", seed=3)),
    ]
    scores = primary(run, *others)
    told = [
        tuple(one.settings[k] for k in ("image_set", "image_order", "control_image"))
        for one in scores
    ]
    assert sorted(told) == [
        ("other", "first", "grey"),
        ("tiny", "first", "grey"),
        ("tiny", "first", "none"),
        ("tiny", "last", "grey"),
    ]


def test_runs_asked_alike_become_one(run: Path, images: Path, tmp_path: Path) -> None:
    more = visual_run(tmp_path, images, stimuli=["img:fear-1", "img:sadness-3"])
    (scores,) = primary(run, more)
    assert "img:sadness-3" in {arm.id for arm in scores.arms}
    (alone,) = primary(more)
    assert scores.stimuli_sha256 != alone.stimuli_sha256


def test_another_image_under_one_arm_id_is_refused(run: Path, tmp_path: Path) -> None:
    other = visual_run(tmp_path / "run", write_image_set(tmp_path / "tiny", seed=9))
    with pytest.raises(UserError, match="the images"):
        read_runs([run, other], progress=False)


def test_text_runs_stand_beside_visual_ones(run: Path, mini_run: Path) -> None:
    families = {arm.family for one in primary(run, mini_run) for arm in one.arms}
    assert {"attack", "visual-attack"} <= families


def test_modules_that_read_text_alone_refuse_images_and_pass_over_them(
    run: Path, mini_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="images beside the text"):
        run_prompts([run], progress=False)
    with pytest.raises(UserError, match="images beside the text"):
        read_model_runs(run)
    assert read_model_runs(run, images=True)


def test_whether_a_prompt_with_an_image_was_cut_is_unknown(run: Path) -> None:
    assert primary(run)[0].truncated is None


def test_samples_name_images_by_hash_and_stay_small(run: Path) -> None:
    (task,) = find_tasks([run])
    lines = task.samples_file.read_text().splitlines()
    assert all("PIL" not in line and len(line) < 20_000 for line in lines)
    first = json.loads(lines[0])["arguments"]["gen_args_1"]["arg_2"]["visual"]
    assert len(first) == 1 and len(first[0]) == 64


def test_a_record_with_an_odd_image_is_refused(run: Path, tmp_path: Path) -> None:
    (task,) = find_tasks([run])
    results = json.loads(task.results_file.read_text())
    arms = results["configs"][TASK]["metadata"]["emo"]["arms"]
    next(arm for arm in arms if "image" in arm)["image"]["width"] = "wide"
    (tmp_path / task.samples_file.name).write_bytes(task.samples_file.read_bytes())
    (tmp_path / task.results_file.name).write_text(json.dumps(results))
    with pytest.raises(UserError, match="width"):
        find_tasks([tmp_path])


def test_repeats_of_a_task_that_scores_by_itself_are_told_as_unable(
    run: Path,
) -> None:
    from emo_harness.runs.repeats import RepeatScores

    (task,) = find_tasks([run])
    config = {**task.config, "repeats": 2, "process_results": "def process_results(...)"}
    scores = RepeatScores(dataclasses.replace(task, config=config))
    assert scores._metrics == {}
