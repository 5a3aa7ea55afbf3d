"""The report's section on what probes found: read from files, honest about nulls."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.probe.geometry.geometry import GeometryPlan, geometry, with_others
from emo_harness.probe.geometry.layer_curves import layer_curves
from emo_harness.report.sections import sections
from tests.probe.made_words import made_results, made_store, made_table
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents


def numbers(folder: Path, signal: float = 3.0) -> dict[str, Any]:
    store = made_store(folder, made_table(40, 8), signal=signal)
    return with_others(
        geometry(store, GeometryPlan(n_templates=0)),
        layer_curves(made_results()),
        trajectory=[
            {
                "axis": "valence",
                "site": "value",
                "layers": [0, 1],
                "model": "made/model",
                "sampled": False,
                "n_prompts": 40,
                "steps": [
                    {"target": target, "step": step, "mean": m, "low": m - 0.1, "high": m + 0.1}
                    | {"n": 20, "n_words": 10, "n_templates": 4}
                    for target, sign in (("high", 1), ("low", -1), ("high - low", 2))
                    for step in range(3)
                    for m in [sign * 0.5 / (1 + 5 * step)]
                ],
                "texts": [["<i>Bob</i> was", " happy"]],
            }
        ],
    )


def with_posthoc(folder: Path, made: object) -> Path:
    (folder / "posthoc").mkdir(parents=True)
    (folder / "posthoc" / "geometry.json").write_text(json.dumps(made), "utf-8")
    return folder


def page(run: Path, out: Path) -> tuple[ParsedPage, dict[str, Any]]:
    made = replace(contents(models=1, subtasks=2, stimuli=2, flips=0), run_folders=(run,))
    markup, told = written(made, out)
    return ParsedPage(markup), told


def test_a_report_shows_the_plane_the_layers_and_the_heads(tmp_path: Path) -> None:
    run = with_posthoc(tmp_path / "run", numbers(tmp_path / "store"))
    read, told = page(run, tmp_path / "out")
    (section,) = (s for s in told["sections"] if s["id"] == "geometry")
    figures = [b["id"] for b in section["blocks"] if b["kind"] == "figure"]
    for part in ("plane-held-out", "curve-valence", "heads-valence", "trajectory-valence"):
        assert any(part in name for name in figures), part
    text = " ".join(section["blocks"][0]["items"])
    assert "Words held out: of 32 crossed words a share of 1.00" in text
    assert "Chance does as well" not in text
    assert "high minus low is +1.00 [+0.90, +1.10]" in text.replace("\u00a0", " ")
    assert "<i>Bob</i> was" in read.text and not read.all("i")


def test_nulls_are_said_to_be_nulls(tmp_path: Path) -> None:
    run = with_posthoc(tmp_path / "run", numbers(tmp_path / "store", signal=0))
    _, told = page(run, tmp_path / "out")
    (section,) = (s for s in told["sections"] if s["id"] == "geometry")
    text = " ".join(section["blocks"][0]["items"])
    assert "no quadrants shown" in text and "no circumplex shown" in text


def test_a_report_without_geometry_has_no_such_section(tmp_path: Path) -> None:
    made = replace(contents(models=1, subtasks=2, stimuli=2, flips=0), run_folders=(tmp_path,))
    assert "geometry" not in {section.id for section in sections(made)}


@pytest.mark.parametrize("broken", [{"schema_version": 1}, {"schema_version": 9}, []])
def test_a_broken_file_is_named(tmp_path: Path, broken: object) -> None:
    run = with_posthoc(tmp_path / "run", broken)
    made = replace(contents(models=1, subtasks=2, stimuli=2, flips=0), run_folders=(run,))
    with pytest.raises(UserError, match=r"geometry\.json"):
        sections(made)
