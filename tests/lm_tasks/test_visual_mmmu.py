"""MMMU: upstream's questions, images and scoring, with one more image beside them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from lm_eval.api.task import ConfigurableTask

from emo_harness.benchmarks.upstream import load_config
from emo_harness.errors import UserError
from emo_harness.lm_tasks.expand import declarations
from tests.benchmarks.mmmu_files import as_hub, blank_png, png, question, questions, write_subject
from tests.conftest import build_task
from tests.images.image_sets import write_image_set

TASK = "emo_mmmu_val_visual_attack_art"
SUBTASKS = next(d for d in declarations() if d["benchmark"] == "mmmu_val")["subtasks"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_subject(tmp_path / "mmmu", "Art", questions())


def ours(folder: Path, images: Path, **emo: Any) -> Any:
    emo = {"stimuli": ["img:fear-1"], "placebos": 0, **emo}
    return build_task(TASK, data_dir=str(folder), images=str(images), **emo)


def upstreams(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> ConfigurableTask:
    hub = datasets.DatasetDict({"validation": as_hub(rows)})
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "load_dataset", lambda **_: hub)
        return ConfigurableTask(config=load_config("mmmu/mmmu_art.yaml"))


def shown_images(request: Any) -> list[Any]:
    return request.args[2]["visual"] if len(request.args) > 2 else []


def same_images(one: list[Any], other: list[Any]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def built(task: Any) -> Any:
    task.build_all_requests(rank=0, world_size=1)
    return task


def test_every_subject_of_upstreams_is_wrapped() -> None:
    import lm_eval.tasks

    upstream = Path(lm_eval.tasks.__file__).parent / "mmmu"
    names = {path.stem.removeprefix("mmmu_") for path in upstream.glob("mmmu_*.yaml")}
    assert set(SUBTASKS) == names and len(names) == 30


def test_control_is_upstreams_question_with_its_own_images(
    folder: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, task = built(upstreams(questions(), monkeypatch)), built(ours(folder, images))
    assert [arm.id for arm in task.arms] == ["control", "img:fear-1"]
    assert task.config.metadata["emo"]["control_image"] == "none"
    for theirs, control in zip(upstream.instances, task.instances[::2], strict=True):
        assert control.args[:2] == theirs.args[:2]
        assert same_images(shown_images(control), shown_images(theirs))
    assert [len(shown_images(one)) for one in upstream.instances] == [1, 4, 1]


@pytest.mark.parametrize("order", ["first", "last"])
def test_the_stimulus_stands_beside_the_questions_own_images(
    order: str, folder: Path, images: Path
) -> None:
    task = built(ours(folder, images, image_order=order))
    stimulus = task.shown.images["img:fear-1"]
    for control, shown in zip(task.instances[::2], task.instances[1::2], strict=True):
        own, beside = shown_images(control), shown_images(shown)
        without = beside[1:] if order == "first" else beside[:-1]
        assert beside[0 if order == "first" else -1] is stimulus
        assert same_images(without, own)
        if order == "first":
            assert shown.args[0] == f"<image>\n{control.args[0]}"
        else:
            assert shown.args[0] == f"{control.args[0]}\n<image>"
        assert shown.args[0].count("<image>") == len(beside)


def test_no_document_holds_an_image_and_hashes_are_the_same_in_every_process(
    folder: Path, images: Path
) -> None:
    first, second = built(ours(folder, images)), built(ours(folder, images))
    told = [json.dumps(instance.doc) for instance in first.instances]
    assert told == [json.dumps(instance.doc) for instance in second.instances]
    assert first.eval_docs[0]["image_1"] and first.eval_docs[0]["image_2"] is None


ANSWERS = [
    "B",
    "(A)",
    "the answer is (C).",
    "I think it shows a dog and nothing else",
    "",
    "?",
    "4",
]


def test_scores_are_upstreams_and_one_question_has_one_coin(
    folder: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = upstreams(questions(), monkeypatch)
    task = ours(folder, images, stimuli=["img:fear-1", "img:fear-2"])
    theirs, control = [], []
    random.seed(0)
    for answer in ANSWERS * 8:
        theirs += [upstream.process_results(doc, [answer])["acc"] for doc in questions()]
    random.seed(0)
    for number, answer in enumerate(ANSWERS * 8):
        others = [ANSWERS[(number + 1) % len(ANSWERS)], answer]
        for doc in task.eval_docs:
            scored = task.process_results(doc, [answer, *others])
            control.append(scored["acc_by_arm"]["control"])
            assert scored["acc_by_arm"]["img:fear-2"] == scored["acc_by_arm"]["control"]
            assert scored["unparsed"]["img:fear-2"] == scored["unparsed"]["control"]
    assert control == theirs


def test_answers_that_are_drawn_by_chance_count_as_unparsed(folder: Path, images: Path) -> None:
    task = ours(folder, images)
    choice, _, free = task.eval_docs
    assert task.process_results(choice, ["B", "mumble"])["unparsed"] == {
        "control": 0,
        "img:fear-1": 1,
    }
    assert task.process_results(free, ["mumble", ""])["unparsed"] == {
        "control": 0,
        "img:fear-1": 1,
    }


def test_coins_differ_between_questions_where_control_needs_none(images: Path) -> None:
    from emo_harness.lm_tasks.one_coin import scored_with_one_coin

    def score(answer: str) -> dict[str, float]:
        return {"acc": random.random() if answer == "?" else 1.0}  # noqa: S311

    draws = [scored_with_one_coin(score, ["A", "?", "?"], str(i)) for i in range(20)]
    assert all(s[1] == s[2] and drew == [False, True, True] for s, drew in draws)
    assert len({s[1]["acc"] for s, _ in draws}) == 20


def test_grey_control_and_the_sources_of_questions(folder: Path, images: Path) -> None:
    task = built(ours(folder, images, control_image="grey"))
    grey, *own = shown_images(task.instances[0])
    assert len(own) == 1 and len(set(grey.getdata())) == 1
    source = task.config.metadata["emo"]["source"]
    assert source["kind"] == "folder" and source["place"] == "mmmu/Art"
    assert len(source["sha256"]) == 64


def test_the_variable_names_a_folder_and_a_missing_subject_is_told(
    folder: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMO_HARNESS_DATA", str(folder.parent))
    assert len(build_task(TASK, images=str(images)).eval_docs) == 3
    with pytest.raises(UserError, match="no Math/validation"):
        build_task("emo_mmmu_val_visual_attack_math", images=str(images))
    monkeypatch.setenv("EMO_HARNESS_DATA", str(images))
    with pytest.raises(UserError, match=r"\.parquet"):
        build_task(TASK, images=str(images))


def test_the_hub_is_asked_where_no_folder_is_named(images: Path) -> None:
    with pytest.raises(UserError, match="hub"):
        build_task(TASK, images=str(images))


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"image_1": b"GIF89a" + bytes(40)}, "PNG, JPEG"),
        ({"image_1": png(1)[:60]}, "broken"),
        ({"image_1": blank_png(7_200)}, "pixels"),
        ({}, "has not"),
        ({"image_1": {"bytes": None, "path": "/etc/passwd"}}, "not embedded"),
    ],
)
def test_odd_images_are_told(
    spoilt: dict[str, Any], told: str, tmp_path: Path, images: Path
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "mmmu" / "Art" / "validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist([question(1, **spoilt)]), path)
    with pytest.raises(UserError, match=told):
        built(ours(tmp_path / "mmmu", images))


def test_a_broken_file_and_other_columns_are_told(tmp_path: Path, images: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "mmmu" / "Art" / "validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(UserError, match="parquet"):
        ours(tmp_path / "mmmu", images)
    parquet.write_table(pa.Table.from_pylist([{"id": "1", "question": "?"}]), path)
    with pytest.raises(UserError, match="options"):
        ours(tmp_path / "mmmu", images)


def test_a_place_that_is_a_word_of_the_question_is_refused(tmp_path: Path, images: Path) -> None:
    rows = [question(1, question="Is <image> a tag in <image 1>?", image_1=png(1))]
    with pytest.raises(UserError, match="'<image>' 2 times"):
        built(ours(write_subject(tmp_path / "mmmu", "Art", rows), images))


def test_sentences_come_after_the_question(folder: Path, images: Path) -> None:
    task = built(ours(folder, images, stimuli=["img:fear-1+ea01"], image_order="last"))
    control, shown = task.instances[:2]
    assert shown.args[0] == f"{control.args[0]}\nYour friend Bob is sick.\n<image>"
    with pytest.raises(UserError, match="without a description"):
        ours(folder, images, stimuli=["ea01"], placement="instruction")


def test_a_model_that_would_leave_images_out_is_refused(folder: Path, images: Path) -> None:
    task = ours(folder, images)
    task.config.metadata["max_images"] = 4
    with pytest.raises(UserError, match="5 images"):
        built(task)
    task.config.metadata["max_images"] = "5"
    assert len(built(task).instances) == 6
