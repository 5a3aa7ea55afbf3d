from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lm_eval.tasks import TaskManager

from emo_harness.lm_tasks.expand import expanded, groups, task_names, write_expanded


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    folder = tmp_path_factory.mktemp("expanded")
    write_expanded(folder)
    return TaskManager(include_defaults=False, include_path=str(folder))


def test_every_expanded_name_is_in_lm_evals_index(manager: TaskManager) -> None:
    names = task_names()
    assert len(names) == len(set(names)) == len(list(expanded()))
    assert set(manager.all_tasks) == set(names)


def test_groups_have_the_subtasks_their_mode_allows() -> None:
    sizes = {name: len(members) for name, members in groups().items()}
    for family in ("attack", "prompt", "negative", "decoded", "all"):
        assert sizes[f"emo_bbh_{family}"] == sizes[f"emo_bbh_cot_{family}"] == 27
        assert sizes[f"emo_bbh_mc_{family}"] == 23
        assert sizes[f"emo_bbh_mini_{family}"] == 27
        assert sizes[f"emo_calibration_{family}"] == 0
    for family in ("attack", "prompt", "all"):
        assert sizes[f"emo_bbh_visual_{family}"] == sizes[f"emo_bbh_visual_mini_{family}"] == 27
        assert sizes[f"emo_bbh_visual_mc_{family}"] == 23
        assert sizes[f"emo_bbh_visual_mini_mc_{family}"] == 23
        assert sizes[f"emo_mmmu_val_visual_{family}"] == 30
        assert sizes[f"emo_calibration_visual_{family}"] == 0
        assert sizes[f"emo_calibration_visual_mc_{family}"] == 0


def test_groups_average_only_metrics_that_their_tasks_report(manager: TaskManager) -> None:
    visual = ("emo_bbh_visual_mini_attack", "emo_bbh_visual_mini_prompt", "emo_bbh_visual_mini_all")
    for group in ("emo_bbh_mini_attack", "emo_bbh_mini_prompt", "emo_bbh_mini_all", *visual):
        path = manager.task_index[group].yaml_path
        assert path is not None
        declared = yaml.safe_load(Path(path).read_text())["aggregate_metric_list"]
        task = manager.load(f"{group}_navigate")["tasks"][f"{group}_navigate"]
        reported = set(task.aggregation())
        named = {entry["metric"] for entry in declared}
        assert named == {n for n in reported if not n.endswith("by_arm") and n != "unparsed"}


def test_a_group_loads_with_all_its_tasks(manager: TaskManager) -> None:
    loaded = manager.load("emo_bbh_mini_attack")
    assert len(loaded["tasks"]) == 27 and set(loaded["groups"]) == {"emo_bbh_mini_attack"}
