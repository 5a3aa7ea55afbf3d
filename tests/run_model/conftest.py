"""Runs of one small model, made once for all tests here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lm_models.local_models import saved
from tests.run_model.asked_runs import GENERATED, MC, ROOM, SHORT, Asked, asked, change_weights


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("asked")
    model = saved(folder / "model", "llama", **ROOM)
    args = {"pretrained": str(model)}
    return Asked(
        model,
        asked(folder / "rated", args, MC),
        asked(folder / "generated", args, GENERATED, **SHORT),
    )


@pytest.fixture
def changed(runs: Asked, tmp_path: Path) -> Iterator[Asked]:
    """The same runs, whose model's weights were replaced in its folder since."""
    kept = tmp_path / "kept"
    shutil.copytree(runs.model, kept)
    change_weights(runs.model)
    yield runs
    shutil.rmtree(runs.model)
    shutil.copytree(kept, runs.model)
