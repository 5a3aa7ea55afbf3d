from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.runs import ArmScores, read_runs, run_reader, store
from tests.runs.made_runs import made_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, date in enumerate(("2026-01-01T00-00-00.0", "2026-01-02T00-00-00.0")):
        made_run(
            tmp_path / "runs" / str(i),
            model=f"org/m{i}",
            date=date,
            score=lambda q, arm: float("nan") if (q, arm) == ("b", "ea01") else float(q == "a"),
        )
    return tmp_path / "runs"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EMO_HARNESS_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def read(folder: Path, **how: object) -> list[ArmScores]:
    return read_runs([folder], progress=False, **how).scores  # type: ignore[arg-type]


def assert_same(left: list[ArmScores], right: list[ArmScores]) -> None:
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        for field in fields(ArmScores):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if isinstance(x, np.ndarray):
                assert x.dtype == y.dtype and x.tobytes() == y.tobytes(), field.name
            else:
                assert repr(x) == repr(y), field.name


def reading_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("samples were read")

    monkeypatch.setattr(run_reader, "read_samples", refuse)


def test_a_second_reading_is_the_first_bit_for_bit_and_opens_no_samples(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(folder)
    assert len(list(kept.rglob("*.npz"))) == 2
    reading_is_an_error(monkeypatch)
    assert_same(first, read(folder))


def test_processes_read_what_one_process_reads(folder: Path, kept: Path) -> None:
    alone = read(folder, n_processes=1)
    for path in kept.rglob("*.npz"):
        path.unlink()
    assert_same(alone, read(folder, n_processes=2))
    assert len(list(kept.rglob("*.npz"))) == 2


def test_an_error_in_another_process_is_the_same_error(folder: Path) -> None:
    next(folder.rglob("samples_*")).write_bytes(b"{")
    told = []
    for n_processes in (1, 2):
        with pytest.raises(UserError) as raised:
            read(folder, n_processes=n_processes)
        told.append(str(raised.value))
    assert told[0] == told[1] and "line 1" in told[0]


def test_what_killed_processes_leave_is_read_here(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = read(folder)
    monkeypatch.setenv("EMO_HARNESS_CACHE", str(tmp_path / "other"))
    in_processes = run_reader._read_in_processes

    def killed(*arguments: Any) -> Iterator[Any]:
        yield next(iter(in_processes(*arguments)))
        raise BrokenProcessPool

    monkeypatch.setattr(run_reader, "_read_in_processes", killed)
    assert_same(alone, read(folder, n_processes=2))


@pytest.mark.parametrize("damage", ["empty", "torn", "flipped", "another file", "rubbish"])
def test_broken_files_in_the_store_are_written_anew(folder: Path, kept: Path, damage: str) -> None:
    first = read(folder)
    whole = {path: path.read_bytes() for path in kept.rglob("*.npz")}
    for path, content in whole.items():
        middle = len(content) // 2
        path.write_bytes(
            {
                "empty": b"",
                "torn": content[:middle],
                "flipped": content[:300] + bytes([content[300] ^ 0xFF]) + content[301:],
                "another file": b"PK\x05\x06" + bytes(18),
                "rubbish": os.urandom(5000),
            }[damage]
        )
    assert_same(first, read(folder))
    assert {path: path.read_bytes() for path in whole}.keys() == whole.keys()
    assert all(store.load(path) is not None for path in whole)


def test_a_reader_killed_while_writing_leaves_nothing_that_is_read(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: object, **arrays: object) -> None:
        file.write(b"PK half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", half)
        with pytest.raises(KeyboardInterrupt):
            read(folder, n_processes=1)
    assert not list(kept.rglob("*.npz"))
    assert_same(read(folder), read(folder))


def test_changed_samples_or_results_are_read_again(folder: Path, kept: Path) -> None:
    read(folder)
    samples = sorted(folder.rglob("samples_*"))[0]
    samples.write_text(samples.read_text().replace('"control": 1.0', '"control": 0.0'))
    assert not read(folder)[0].scores[:, 0].any()
    results = sorted(folder.rglob("results_*"))[0]
    results.write_text(results.read_text().replace('"effective": 3', '"effective": 4'))
    with pytest.raises(UserError, match="the 4 that"):
        read(folder)


def test_a_store_that_cannot_be_written_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMO_HARNESS_CACHE", str(tmp_path / "file"))
    assert_same(read(folder), read(folder))
    assert (tmp_path / "file").read_text() == ""


def test_the_store_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMO_HARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert store.store_folder() == Path("/somewhere/emo-harness")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.store_folder() == Path.home() / ".cache" / "emo-harness"


def test_a_store_holds_no_pickle(folder: Path, kept: Path) -> None:
    read(folder)
    for path in kept.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as stored:
            assert all(stored[name].dtype != object for name in stored.files)
