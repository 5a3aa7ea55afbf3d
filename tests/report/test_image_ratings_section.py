"""Ratings of images in a report, as `emo images rate --run` leaves them beside a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from emo_harness.errors import UserError
from emo_harness.rating import rate_images, rating_result
from emo_harness.report.blocks import Figure, Table
from emo_harness.report.page import render
from emo_harness.report.sections.image_ratings import section
from tests.rating.test_rating import BrightnessRater, a_set, grey
from tests.report.synthetic import contents

LEVELS = [10, 200, 40, 220, 30, 240, 20, 180]


@pytest.mark.parametrize("method", ["likelihood", "answer"])
def test_what_the_command_writes_is_what_the_section_shows(tmp_path: Path, method: str) -> None:
    image_set = a_set(tmp_path, LEVELS)
    rated = rate_images(
        BrightnessRater(),
        [grey(level) for level in LEVELS],
        method=method,  # type: ignore[arg-type]
    )
    result = rating_result("org/<vlm>", method, image_set, image_set.entries, rated)
    (tmp_path / "posthoc").mkdir()
    told = json.dumps(result.as_json(), allow_nan=False)
    (tmp_path / "posthoc" / "image_ratings.json").write_text(told)
    found = section(contents(models=1, subtasks=2, stimuli=2, run_folders=(tmp_path,)))
    assert found is not None
    page = render([found], "")
    assert "org/&lt;vlm&gt;" in page and "<vlm>" not in page
    if method == "likelihood":
        assert "Rank correlation with human norms: valence −1.00" in page
        assert any(block.kind == "figure" for block in found.blocks)
    else:
        # No answer named an arousal, so there is no plane.
        assert all(block.kind != "figure" for block in found.blocks)


def test_without_ratings_there_is_no_section() -> None:
    assert section(contents(models=1, subtasks=2, stimuli=2)) is None


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "posthoc").mkdir()
    (tmp_path / "posthoc" / "image_ratings.json").write_text('{"schema_version": 1}')
    made = contents(models=1, subtasks=2, stimuli=2)
    with pytest.raises(UserError, match=r"image_ratings\.json"):
        section(replace(made, run_folders=(tmp_path,)))


def test_many_concepts_stay_readable(tmp_path: Path) -> None:
    n = 700
    image_set = a_set(tmp_path, [10, 200] * n)
    entries = [
        entry.model_copy(update={"concept": f"concept-{entry.id.split('-')[1]}"})
        for entry in image_set.entries
    ]
    rated = rate_images(BrightnessRater(), [grey(10), grey(200)] * n)
    result = rating_result("m", "likelihood", image_set, entries, rated)
    (tmp_path / "posthoc").mkdir()
    (tmp_path / "posthoc" / "image_ratings.json").write_text(json.dumps(result.as_json()))
    found = section(contents(models=1, subtasks=2, stimuli=2, run_folders=(tmp_path,)))
    assert found is not None
    (figure,) = (block for block in found.blocks if isinstance(block, Figure))
    assert len(figure.alt) < 500 and "700 concepts" in figure.caption
    assert len(figure.table.rows) == 600 and "800 more" in figure.table.caption
    (table,) = (block for block in found.blocks if isinstance(block, Table))
    assert table.rows[0][0].text == "(all)" and len(table.rows) == 41
    assert "660 more" in table.caption
    # A pair has no spread, nor have equal differences.
    assert "all 700 alike" in table.rows[0][3].text
