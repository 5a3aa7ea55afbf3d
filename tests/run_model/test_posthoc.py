"""What is found afterwards lies in the folder that was named, whole, beside what others found."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from emo_harness.errors import UserError
from emo_harness.report import posthoc as report_posthoc
from emo_harness.run_model import POSTHOC, posthoc_folder, write_posthoc


def test_it_belongs_to_the_named_folder_or_beside_the_named_file(tmp_path: Path) -> None:
    results = tmp_path / "results_2026-01-01T00-00-00.000000.json"
    results.write_text("{}")
    assert posthoc_folder(tmp_path) == posthoc_folder(results) == tmp_path / POSTHOC


def test_a_report_looks_for_it_where_it_is_written() -> None:
    assert POSTHOC == report_posthoc.FOLDER


def test_files_appear_whole_beside_others(tmp_path: Path) -> None:
    (tmp_path / POSTHOC).mkdir()
    (tmp_path / POSTHOC / "geometry.json").write_text("theirs")
    table = pd.DataFrame({"a": [1, 2]})
    file = write_posthoc(tmp_path, "found", {"n": 2}, {"found.parquet": table}, "writing it")
    assert json.loads(file.read_text()) == {"n": 2}
    pd.testing.assert_frame_equal(pd.read_parquet(file.with_suffix(".parquet")), table)
    names = {path.name for path in file.parent.iterdir()}
    assert names == {"geometry.json", "found.json", "found.parquet"}

    class Broken:
        def to_parquet(self, path: Path, index: bool) -> None:
            raise OSError("disk full")

    with pytest.raises(UserError, match="disk full"):
        write_posthoc(tmp_path, "found", {"n": 3}, {"found.parquet": Broken()}, "writing it")
    assert json.loads(file.read_text()) == {"n": 2}
    assert {path.name for path in file.parent.iterdir()} == names
