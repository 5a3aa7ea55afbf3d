"""What packages offer by name: all of it is there, and naming the package imports no torch."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ("activations", "attribution", "decode")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_offered_name_is_there(name: str) -> None:
    package = import_module(f"emo_harness.{name}")
    for offered in package.__all__:
        assert getattr(package, offered) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_naming_the_packages_imports_no_torch() -> None:
    imports = "; ".join(f"import emo_harness.{name}" for name in PACKAGES)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
