"""Visual tasks through lm-eval's own multimodal model, and through ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval import simple_evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.hf_vlms import HFMultimodalLM
from lm_eval.tasks import TaskManager

from emo_harness.benchmarks.upstream import load_config
from emo_harness.errors import UserError
from tests.benchmarks.mmmu_files import as_hub, png, question, questions, write_subject
from tests.conftest import build_task
from tests.images.image_sets import write_image_set
from tests.lm_models.vision_models import saved

pytestmark = pytest.mark.slow
MINI = "emo_bbh_visual_mini_attack_sports_understanding"
MMMU = "emo_mmmu_val_visual_attack_art"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("llava"), "llava")


@pytest.fixture(scope="module")
def stock(folder: Path) -> HFMultimodalLM:
    return HFMultimodalLM(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def mixing(folder: Path) -> Any:
    models = pytest.importorskip("emo_harness.lm_models.vision_language")
    return models.VisionLanguageLM(str(folder), device="cpu", dtype="float32")


def asked(model: Any, task: Any, **kwargs: Any) -> dict[str, Any]:
    results = simple_evaluate(
        model,
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        gen_kwargs="max_gen_toks=6",
        **kwargs,
    )
    assert results is not None
    return results


def answers(results: dict[str, Any], task: str, arm: int) -> list[str]:
    rows = results["samples"][task]
    return [row["resps"][arm][0] for row in rows if row["filter"] == rows[0]["filter"]]


@pytest.mark.parametrize("chat", [False, True])
def test_every_arm_is_answered_by_lm_evals_own_model(
    chat: bool, stock: HFMultimodalLM, images: Path
) -> None:
    stock.chat_applied = False
    task = build_task(MINI, images=str(images), placebos=0, image_order="last" if chat else "first")
    results = asked(stock, task, limit=2, apply_chat_template=chat)
    row = results["results"][MINI]
    assert "exact_match_gain,flexible-extract" in row
    given = [tuple(answers(results, MINI, i)) for i in range(len(task.arms))]
    assert len(set(given)) > 1, "the images do not reach the model"


def test_control_of_mmmu_is_answered_as_upstreams(
    stock: HFMultimodalLM, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock.chat_applied = False
    rows = [*questions()[:1], questions()[2], question(7, image_1=png(8, "RGBA"))]
    with monkeypatch.context() as patched:
        hub = datasets.DatasetDict({"validation": as_hub(rows)})
        patched.setattr(datasets, "load_dataset", lambda **_: hub)
        upstream = ConfigurableTask(config=load_config("mmmu/mmmu_art.yaml"))
    data = write_subject(tmp_path / "mmmu", "Art", rows)
    ours = build_task(
        MMMU, data_dir=str(data), images=str(images), stimuli=["img:fear-1"], placebos=0
    )
    theirs, mine = asked(stock, upstream), asked(stock, ours)
    assert answers(mine, MMMU, 0) == answers(theirs, "mmmu_val_art", 0)
    assert (
        mine["results"][MMMU]["acc_control,none"] == theirs["results"]["mmmu_val_art"]["acc,none"]
    )


def test_lm_evals_own_model_is_refused_prompts_of_both_kinds(
    stock: HFMultimodalLM, images: Path
) -> None:
    task = build_task(MINI, images=str(images), control_image="none")
    with pytest.raises(UserError, match="cannot have both"):
        asked(stock, task, limit=1)


@pytest.mark.parametrize("name", [MINI, MINI.replace("_mini_", "_mini_mc_")])
def test_our_model_takes_prompts_of_both_kinds_and_rates_options(
    name: str, mixing: Any, images: Path
) -> None:
    stimuli = ["img:fear-1", "img:fear-2+ea01", "ea01"]
    task = build_task(name, images=str(images), stimuli=stimuli, control_image="none", placebos=1)
    results = asked(mixing, task, limit=2)
    assert any("gain_vs_scrambled" in metric for metric in results["results"][name])
