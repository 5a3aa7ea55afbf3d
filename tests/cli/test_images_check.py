"""`emo images check`, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.images import (
    ImageEntry,
    Imported,
    load_image_set,
    shipped_sets,
    write_manifest,
)
from tests.cli.test_commands import emo
from tests.images.image_sets import write_image_set
from tests.images.tiny_clip import tiny_clip

pytest.importorskip("open_clip")
pytest.importorskip("imagehash")
WORDS = ["an image of fear sadness money fortress joy happiness castle that shows"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("clips")
    return [f"local-dir:{tiny_clip(place / str(seed), WORDS, seed=seed)}" for seed in (0, 1)]


def call(*arguments: str) -> str:
    """What a command prints; its errors as they are."""
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["images", "check", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_set_is_checked_and_its_files_lie_in_it(tmp_path: Path, clips: list[str]) -> None:
    folder, run = write_image_set(tmp_path / "set"), tmp_path / "run"
    run.mkdir()
    told = call(str(folder), "--encoder", clips[0], "--second-encoder", clips[1], "--run", str(run))
    assert "fortress" in told and "25%" in told and "no test of emotion" in told
    for name in ("checks.parquet", "checks.html", "checks_sheet.png"):
        assert (folder / name).stat().st_size > 0
    again = load_image_set(folder)
    assert all(entry.checks and entry.checks["encoder"] == "0" for entry in again.entries)
    stored = json.loads((run / "posthoc" / "images.json").read_text("utf-8"))
    assert stored["n_images"] == 12 and [one["name"] for one in stored["encoders"]] == ["0", "1"]
    assert str(tmp_path) not in json.dumps(stored) + (folder / "manifest.jsonl").read_text()


def test_json_has_the_numbers_without_pixels(tmp_path: Path, clips: list[str]) -> None:
    folder = write_image_set(tmp_path / "set")
    told = json.loads(call(str(folder), "--encoder", clips[0], "--json"))
    assert told["families"][-1]["n"] == 12 and "thumbnail" not in told["images"][0]


def test_another_folder_leaves_the_set_as_it_is(tmp_path: Path) -> None:
    folder = write_image_set(tmp_path / "set", per_concept=1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    call(str(folder), "--encoder", "none", "--out", str(tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "checks.parquet",
        "checks.html",
        "checks_sheet.png",
    }


@pytest.mark.parametrize("show", [False, True])
def test_pixels_of_referenced_images_go_nowhere_unasked(tmp_path: Path, show: bool) -> None:
    folder, run = write_image_set(tmp_path / "set", per_concept=1), tmp_path / "run"
    run.mkdir()
    made = Imported(original="a.jpg", source="a set with a licence").model_dump()
    entries = [
        ImageEntry.model_validate(
            {**entry.model_dump(), "file": None, "referenced": entry.file, "made": made}
        )
        for entry in load_image_set(folder).entries
    ]
    write_manifest(folder, entries)
    asked = ["--show-referenced"] if show else []
    told = call(str(folder), "--encoder", "none", "--run", str(run), *asked)
    for path in (folder / "checks.html", run / "posthoc" / "images.json"):
        assert ("data:image/webp" in path.read_text("utf-8")) == show
    assert ("do not pass" in " ".join(told.split())) == show


@pytest.mark.skipif("emoji" not in shipped_sets(), reason="no shipped set: emoji")
def test_a_shipped_set_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = shipped_sets()["emoji"]
    before = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    monkeypatch.chdir(tmp_path)
    assert "nothing was written" in call("emoji", "--encoder", "none")
    assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == before
    assert not list(tmp_path.iterdir())


def test_the_same_encoder_twice_confirms_nothing(tmp_path: Path, clips: list[str]) -> None:
    folder = write_image_set(tmp_path / "set", per_concept=1)
    with pytest.raises(UserError, match="first one again"):
        call(str(folder), "--encoder", clips[0], "--second-encoder", clips[0])


def test_a_run_that_is_not_there_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    folder = write_image_set(tmp_path / "set", per_concept=1)
    with pytest.raises(UserError, match="run"):
        call(str(folder), "--encoder", "none", "--run", str(tmp_path / "nowhere"))
    assert not (folder / "checks.html").exists()


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.jsonl"):
        call(str(tmp_path), "--encoder", "none")


def test_a_broken_image_leaves_no_half_written_checks(tmp_path: Path) -> None:
    folder = write_image_set(tmp_path / "set", per_concept=1)
    (folder / "money-1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match="money-1"):
        call(str(folder), "--encoder", "none")
    assert not (folder / "checks.parquet").exists()


def test_a_mistake_is_told_in_one_block_and_help_has_an_example(tmp_path: Path) -> None:
    done = emo("images", "check", str(tmp_path), "--encoder", "none")
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert "Example" in emo("images", "check", "--help").stdout


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "open_clip", "imagehash", "PIL", "pandas", "numpy")
    program = (
        "import sys, emo_harness.cli.images_check, emo_harness.cli.images_check_tables; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
