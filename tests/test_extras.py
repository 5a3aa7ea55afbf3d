from __future__ import annotations

import ast
import sys

import pytest

from emo_harness.errors import UserError
from emo_harness.extras import EXTRA_OF, import_extra
from tests.conftest import ROOT

PACKAGE_OF = {
    "lm_eval": "lm-eval",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "fontTools": "fonttools",
    "open_clip": "open_clip_torch",
}
tomllib = pytest.importorskip("tomllib")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {r.split("[")[0].split(">")[0].split("=")[0].split("<")[0].strip() for r in requirements}


def test_a_missing_extra_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError) as raised:
        import_extra("diffusers", "generating images")
    assert raised.value.fix == "pip install 'emo-harness[images]'"


def test_every_extra_names_its_packages() -> None:
    for module, extra in EXTRA_OF.items():
        package = PACKAGE_OF.get(module, module)
        assert package in names(PROJECT["optional-dependencies"][extra])


def test_everything_imported_is_declared_and_torchvision_is_not() -> None:
    declared = names(PROJECT["dependencies"])
    assert "torchvision" not in declared
    for path in (ROOT / "emo_harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported = [node.module]
            else:
                continue
            for module in {name.split(".")[0] for name in imported}:
                if module in sys.stdlib_module_names or module == "emo_harness":
                    continue
                assert PACKAGE_OF.get(module, module) in declared, f"{path.name}: {module}"


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    for name in names(PROJECT["dependencies"]) | names(PROJECT["optional-dependencies"]["images"]):
        assert name in reasons, name
