"""A module imports only from floors below it, and nothing heavy before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "emo_harness"
FLOORS = [
    {"errors"},
    {
        "resources",
        "validation",
        "extras",
        "command_line",
        "whole_file",
        "text_file",
        "image_file",
        "model_identity",
        "lazy_names",
    },
    {"stimuli", "placement", "prompt_tokens", "prefix", "axes"},
    {"effects", "runs", "benchmarks", "activations"},
    {"steer", "run_model", "images"},
    {"lm_models"},
    {"lm_tasks", "probe", "decode", "attribution", "rating"},
    {"report"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {name: level for level, names in enumerate(FLOORS) for name in names}
NO_TORCH = ("effects", "runs", "report")
NO_LM_EVAL = ("stimuli", "placement", "effects", "runs", "report")
# Applies lm-eval's own filters and metrics to responses that lm-eval did not score.
MAY_USE_LM_EVAL = (PACKAGE / "runs" / "repeats.py",)


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules() -> list[Path]:
    return [p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name != "__init__.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_imports_only_from_floors_below(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports_of(path):
        parts = name.split(".")
        if (
            parts[0] == "emo_harness"
            and len(parts) > 1
            and parts[1] in FLOOR_OF
            and parts[1] != own
        ):
            assert FLOOR_OF[parts[1]] < FLOOR_OF[own], f"{own} imports {name}"
        if own in NO_TORCH:
            assert parts[0] not in ("torch", "transformers"), f"{own} imports {name}"
        if own in NO_LM_EVAL and path not in MAY_USE_LM_EVAL:
            assert parts[0] != "lm_eval", f"{own} imports {name}"


def test_every_module_lives_on_a_floor() -> None:
    assert {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in modules()} <= set(FLOOR_OF)


def test_statistics_are_numpy_and_scipy_alone_and_know_no_file() -> None:
    allowed = {
        "__future__",
        "collections",
        "dataclasses",
        "functools",
        "math",
        "typing",
        "numpy",
        "scipy",
    }
    for path in (PACKAGE / "effects").glob("*.py"):
        for name in imports_of(path):
            own = name.startswith("emo_harness.effects")
            assert own or name.split(".")[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("module", ["emo_harness", "emo_harness.cli.main"])
def test_nothing_heavy_is_imported_at_start(module: str) -> None:
    heavy = (
        "torch",
        "transformers",
        "diffusers",
        "open_clip",
        "lm_eval",
        "pandas",
        "scipy",
        "numpy",
    )
    program = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_pickle_no_eval_no_remote_code() -> None:
    for path in modules():
        text = path.read_text("utf-8")
        for banned in ("import pickle", "import dill", "torch.load(", "trust_remote_code=True"):
            assert banned not in text, f"{path.name}: {banned}"
        calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
        names = {n.func.id for n in calls if isinstance(n.func, ast.Name)}
        assert not names & {"eval", "exec"}, path.name
