from __future__ import annotations

import os
from pathlib import Path

import pytest

from emo_harness.report.freshness import STAMP, digest_of, made_before, remember


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    run, out = tmp_path / "run", tmp_path / "run" / "out"
    out.mkdir(parents=True)
    (run / "results.json").write_text("{}")
    (out / "report.html").write_text("page")
    return run, out


def stamped(run: Path, out: Path) -> str:
    digest = digest_of([run], 1.0, out)
    remember(out, digest, [out / "report.html"], ["m: lowers"], ["merged"])
    return digest


def test_a_report_of_the_same_sources_is_known_again(folders: tuple[Path, Path]) -> None:
    run, out = folders
    digest = stamped(run, out)
    assert digest_of([run], 1.0, out) == digest
    made = made_before(out, digest)
    assert made and (made.verdicts, made.remarks) == (("m: lowers",), ("merged",))


def test_another_file_margin_or_folder_makes_it_stale(folders: tuple[Path, Path]) -> None:
    run, out = folders
    digest = stamped(run, out)
    assert digest_of([run], 2.0, out) != digest
    assert digest_of([run / "results.json"], 1.0, out) != digest
    os.utime(run / "results.json", ns=(1, 1))
    assert digest_of([run], 1.0, out) != digest
    posthoc = run / "posthoc"
    posthoc.mkdir()
    before = digest_of([run], 1.0, out)
    (posthoc / "decode.json").write_text("{}")
    assert digest_of([run], 1.0, out) != before


@pytest.mark.parametrize("stamp", ["", "[]", '{"digest": 1}', "{", None])
def test_a_touched_missing_or_broken_report_is_made_anew(
    folders: tuple[Path, Path], stamp: str | None
) -> None:
    run, out = folders
    digest = stamped(run, out)
    if stamp is None:
        (out / "report.html").write_text("changed by hand")
    else:
        (out / STAMP).write_text(stamp)
    assert made_before(out, digest) is None


def test_runs_in_the_reports_own_folder_count_as_sources(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    digest = digest_of([tmp_path], 1.0, tmp_path)
    (tmp_path / "report.html").write_text("the report itself")
    assert digest_of([tmp_path], 1.0, tmp_path) == digest
    (tmp_path / "more.json").write_text("{}")
    assert digest_of([tmp_path], 1.0, tmp_path) != digest
