"""Sections of the page, one module each, found by being here.

A section module has `ORDER: int` (its place on the page) and
`section(contents: ReportContents) -> Section | None`; None leaves it out.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from emo_harness.report.blocks import Section
from emo_harness.report.contents import ReportContents


def section_modules() -> list[ModuleType]:
    """Every module of this package, in the order of the page."""
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: (module.ORDER, module.__name__))


def sections(contents: ReportContents) -> list[Section]:
    """The sections that have something to show."""
    made = [module.section(contents) for module in section_modules()]
    return [section for section in made if section is not None]
