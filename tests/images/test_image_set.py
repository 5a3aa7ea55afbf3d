"""Manifests: strictly read, and never a way out of their folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emo_harness.errors import UserError
from emo_harness.images import load_image_set, manifest_line, write_manifest
from emo_harness.images.image_set import MANIFEST
from tests.images.image_sets import random_image, write_image_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    random_image(99).save(tmp_path / "outside" / "secret.png")
    return write_image_set(tmp_path / "set", per_concept=1)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]


def rewrite(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    entries = lines(folder)
    change(entries)
    (folder / MANIFEST).write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_written_manifest_is_read_back(folder: Path) -> None:
    first = load_image_set(folder)
    content = (folder / MANIFEST).read_bytes()
    write_manifest(folder, first.entries)
    assert (folder / MANIFEST).read_bytes() == content
    assert load_image_set(folder) == first
    assert all("\n" not in manifest_line(entry) for entry in first.entries)
    for entry in first.entries:
        assert first.open(entry).size == (entry.width, entry.height)
        assert first.twin(entry.id) is None or first.twin(entry.id).twin_of == entry.id


@pytest.mark.parametrize(
    "file",
    [
        "../outside/secret.png",
        "sub/../../outside/secret.png",
        "./../outside/secret.png",
        "ABSOLUTE",
        "fear-1.png/../../outside/secret.png",
    ],
)
def test_path_out_of_the_folder_is_refused(folder: Path, file: str) -> None:
    (folder / "sub").mkdir()
    target = str(folder.parent / "outside" / "secret.png")
    rewrite(folder, lambda entries: entries[0].update(file=file.replace("ABSOLUTE", target)))
    with pytest.raises(UserError, match="outside the set's folder"):
        load_image_set(folder)


@pytest.mark.parametrize("link", ["file", "folder"])
def test_link_out_of_the_folder_is_refused(folder: Path, link: str) -> None:
    if link == "file":
        (folder / "fear-1.png").unlink()
        (folder / "fear-1.png").symlink_to(folder.parent / "outside" / "secret.png")
    else:
        (folder / "sub").symlink_to(folder.parent / "outside")
        rewrite(folder, lambda entries: entries[0].update(file="sub/secret.png"))
    with pytest.raises(UserError, match="outside the set's folder"):
        load_image_set(folder)


def test_link_that_appears_after_reading_is_refused(folder: Path) -> None:
    read = load_image_set(folder)
    (folder / "fear-1.png").unlink()
    (folder / "fear-1.png").symlink_to(folder.parent / "outside" / "secret.png")
    with pytest.raises(UserError, match="outside the set's folder"):
        read.open(read.entry("fear-1"))


def test_links_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "fear-1.png").unlink()
    (folder / "fear-1.png").symlink_to("fear-1.png")
    with pytest.raises(UserError, match=r"leads nowhere|no file"):
        load_image_set(folder)


def test_folder_that_is_a_link_itself_is_fine(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    read = load_image_set(folder.parent / "link")
    assert read.open(read.entries[0]).size == (24, 24)


def test_other_pixels_than_the_manifest_says_are_refused(folder: Path) -> None:
    read = load_image_set(folder)
    shutil.copy(folder / "sadness-1.png", folder / "fear-1.png")
    with pytest.raises(UserError, match="as the manifest says"):
        read.open(read.entry("fear-1"))
    # Another file of the same pixels is the same image.
    with Image.open(folder / "sadness-1.png") as image:
        image.save(folder / "sadness-1.png", compress_level=0)
    assert read.open(read.entry("sadness-1"))


def test_referenced_image_is_opened_where_it_lies_and_only_if_it_is_that_image(
    folder: Path,
) -> None:
    def refer(entries: list[dict[str, Any]]) -> None:
        del entries[0]["file"]
        entries[0]["made"] = {"how": "imported", "original": "fear.png", "source": "mine"}
        entries[0]["referenced"] = str(folder.parent / "outside" / "fear.png")

    (folder / "fear-1.png").rename(folder.parent / "outside" / "fear.png")
    rewrite(folder, refer)
    read = load_image_set(folder)
    assert read.open(read.entries[0]).size == (24, 24)
    shutil.copy(folder.parent / "outside" / "secret.png", read.path(read.entries[0]))
    with pytest.raises(UserError, match="as the manifest says"):
        read.open(read.entries[0])
    read.path(read.entries[0]).unlink()
    with pytest.raises(UserError, match="no such file"):
        read.open(read.entries[0])


@pytest.mark.parametrize("place", ["~nosuchuser/x.png", "x" * 300, "loop.png", "/dev/zero"])
def test_reference_that_leads_nowhere_is_told_when_it_is_opened(folder: Path, place: str) -> None:
    (folder / "loop.png").symlink_to("loop.png")
    made = {"how": "imported", "original": "x.png", "source": "mine"}
    rewrite(folder, lambda e: e[0].update(referenced=place, made=made, file=None))
    read = load_image_set(folder)
    with pytest.raises(UserError):
        read.open(read.entries[0])


def test_size_that_is_not_the_images_is_refused(folder: Path) -> None:
    rewrite(folder, lambda entries: entries[0].update(width=12, height=48))
    read = load_image_set(folder)
    with pytest.raises(UserError, match=r"24 x 24(.|\n)*12 x 48"):
        read.open(read.entries[0])


def norms(**changes: Any) -> dict[str, Any]:
    return {"valence": 3.0, "arousal": 5.0, "scale": [1, 9], "source": "mine", **changes}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda e: e[0].update(file="none.png"), "no file 'none.png'"),
        (lambda e: e[0].update(file="."), "no file"),
        (lambda e: e[0].update(file=""), "no file"),
        (lambda e: e[0].pop("file"), "either `file` or `referenced`"),
        (lambda e: e[0].update(referenced="/a.png"), "either `file` or `referenced`"),
        (lambda e: e[1].update(id=e[0]["id"]), "twice"),
        (lambda e: e[1].update(twin_of="nobody"), "a twin of 'nobody'"),
        (lambda e: e[1].update(twin_of=e[3]["id"]), "or a twin itself"),
        (lambda e: e[1].update(twin_of=e[1]["id"]), "or a twin itself"),
        (lambda e: e[0].update(file="a\0.png"), "without control characters"),
        (lambda e: e[0].update(file="a" * 300), "leads nowhere"),
        (lambda e: e[0].update(file="\ud800.png"), "whole characters"),
        (lambda e: e[0].update(concept="\ud800"), "whole characters"),
        (lambda e: e[0].update(referenced=e[0].pop("file")), "imported images alone"),
        (lambda e: e[0].update(id="grey"), "the plain grey control"),
        (lambda e: e[0].update(width=200_000, height=200_000), "at most 50,000,000 pixels"),
        (lambda e: e[0].update(norms=norms(scale=[9, 1])), "lowest, highest"),
        (lambda e: e[0].update(norms=norms(scale=[1, 1])), "lowest, highest"),
        (lambda e: e[0].update(norms=norms(arousal=10)), "means from 1 to 9"),
        (lambda e: e[0].update(norms=norms(valence=float("nan"))), "finite numbers"),
        (lambda e: e[0].update(family="placebo"), "neutral twins"),
        (lambda e: e[0].update(sha256="F" * 64), "sha256"),
        (lambda e: e[0].update(id="../fear"), "id"),
        (lambda e: e[0].update(id="Fear 1"), "id"),
        (lambda e: e[0].update(colour="red"), "unknown key 'colour'"),
        (lambda e: e[0].update(width="24"), "width"),
        (lambda e: e[0]["made"].update(how="found"), "how"),
        (lambda e: e[0].update(arousal="medium"), "low, high"),
        (lambda e: e.clear(), "no image"),
    ],
)
def test_line_that_is_not_as_it_should_be_is_told(
    folder: Path, change: Callable[[list[dict[str, Any]]], object], told: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(UserError, match=told):
        load_image_set(folder)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id": NaN}',
        b'"text"',
        b"{}",
        b'{"id": ' + b"9" * 5_000 + b"}",
        b'{"id": 1e999}',
    ],
    ids=["half", "list", "null", "bytes", "deep", "nan", "text", "empty", "digits", "infinite"],
)
def test_line_that_is_no_entry_is_told(folder: Path, line: bytes) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError) as error:
        load_image_set(folder)
    if line != b"\xff\xfe":
        assert f"line {len(lines_before(folder)) + 1}" in str(error.value)


def lines_before(folder: Path) -> list[bytes]:
    return (folder / MANIFEST).read_bytes().splitlines()[:-1]


def test_missing_set_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="emoji"):
        load_image_set(tmp_path / "none")
    with pytest.raises(UserError, match="no manifest"):
        load_image_set(tmp_path)
    with pytest.raises(UserError, match="nearest: 'fear-1'"):
        load_image_set("emoji").entry("fer-1")
