from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import emo_harness.effects
import emo_harness.report

MODULES = [
    module.name
    for package in (emo_harness.effects, emo_harness.report)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_to_hold() -> None:
    assert doctest.testmod(importlib.import_module("emo_harness.effects.gain")).attempted > 0
