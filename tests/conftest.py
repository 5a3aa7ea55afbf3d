"""What the tests share: no network, the published data where it is at hand, a scripted model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No test depends on how fast or busy the machine is, nor on luck.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def _no_data_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMO_HARNESS_DATA", raising=False)


@pytest.fixture(autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has read is not taken from another's store, nor from the user's."""
    monkeypatch.setenv("EMO_HARNESS_CACHE", str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def bbh_folder() -> Path:
    folder = SHARED / "data" / "bbh" / "bbh"
    if not folder.is_dir():
        pytest.skip("published BBH data not at hand (../shared/data/bbh)")
    return folder


@pytest.fixture(scope="session")
def stories_model() -> Path:
    folder = SHARED / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip("real model not at hand (../shared/models/stories260K)")
    return folder


@pytest.fixture(scope="session")
def published_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BBH mini's questions as files in the published format, all 27 subtasks."""
    from emo_harness.benchmarks import bbh_mini
    from emo_harness.lm_tasks.expand import declarations

    folder = tmp_path_factory.mktemp("published") / "bbh"
    folder.mkdir()
    subtasks = next(d for d in declarations() if d["benchmark"] == "bbh")["subtasks"]
    for subtask in subtasks:
        rows = bbh_mini.questions(subtask).rows
        (folder / f"{subtask}.json").write_text(json.dumps({"examples": rows}), encoding="utf-8")
    return folder


@cache
def expanded_texts() -> dict[str, str]:
    from emo_harness.lm_tasks.expand import expanded

    return {Path(path).stem: text for path, text in expanded()}


def build_task(name: str, **emo: Any) -> Any:
    """Build one of our tasks as lm-eval's factory would, from its expanded YAML."""
    import yaml

    from emo_harness import lm_tasks

    first, rest = expanded_texts()[name].split("\n", 1)
    config = yaml.safe_load(rest)
    config["metadata"] = {**config["metadata"], "pretrained": "some/model", "emo": emo}
    return getattr(lm_tasks, first.rsplit(".", 1)[1])(config=config)


def scripted_model(answer: Callable[[str], str]) -> Any:
    """An lm-eval model whose answer is a function of the prompt."""
    from lm_eval.api.model import LM

    class ScriptedLM(LM):
        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            return [answer(request.args[0]) for request in requests]

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            scored = []
            for request in requests:
                prompt, option = request.args
                chosen = option.strip() == answer(prompt).strip()
                scored.append((-1.0 if chosen else -2.0, chosen))
            return scored

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            raise AssertionError("not asked for")

    return ScriptedLM()


def write_run(
    folder: Path, tasks: Sequence[Any], answer: Callable[[str], str], **kwargs: Any
) -> Path:
    """Run tasks with the scripted model and let lm-eval itself write the run folder."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(folder))
    results = simple_evaluate(
        scripted_model(answer),
        tasks=list(tasks),
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        evaluation_tracker=tracker,
        model_args="pretrained=org/scripted",
        **kwargs,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return folder


def answers_mini(prompt: str) -> str:
    """Right on boolean_expressions' and navigate's mini questions, wrong under ea01."""
    from emo_harness.benchmarks import bbh_mini

    rows = [r for s in ("boolean_expressions", "navigate") for r in bbh_mini.questions(s).rows]
    right = next(r["target"] for r in rows if f"Q: {r['input']}\n" in prompt)
    flipped = {"True": "False", "False": "True", "Yes": "No", "No": "Yes"}[right]
    if "Bob is dead" in prompt:
        return "mumble"
    return flipped if "Your friend Bob is sick." in prompt else right


@pytest.fixture(scope="session")
def mini_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of two subtasks: control 100%, ea01 0%, ea02 unparsed, ea03 100%."""
    emo = {"stimuli": ["ea01", "ea02", "ea03"]}
    names = ("boolean_expressions", "navigate")
    tasks = [build_task(f"emo_bbh_mini_attack_{name}", **emo) for name in names]
    return write_run(tmp_path_factory.mktemp("run"), tasks, answers_mini)
