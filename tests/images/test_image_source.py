"""Which image a table's name means, and which files of a folder are none that can be taken."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from emo_harness.errors import UserError
from emo_harness.images.image_source import open_source
from tests.images.rated_images import bring, save


def test_a_path_in_the_table_goes_before_a_name(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "ok.png", "s/ok.png", "t/b.png")
    table = tmp_path / "t.csv"
    table.write_text("file,valence\nok.png,2\ns/ok.png,3\n")
    found = bring(folder, table, tmp_path / "set").entries
    assert {e.made.original: e.norms.valence for e in found} == {"ok.png": 2, "s/ok.png": 3}  # type: ignore[union-attr]


def test_paths_of_windows_and_from_the_root_are_known_by_their_end(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "a.png", "s/a.png", "b.png")
    source = open_source(folder)
    assert source.find("C:\\imgs\\b.PNG") == source.find("/data/imgs/b.png") == ["b.png"]
    assert source.find("C:\\imgs\\s\\a.png") == source.find("s\\A.png") == ["s/a.png"]
    assert source.find("C:\\imgs\\c.png") == source.find("other/b.png") == source.find("") == []


def test_letters_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", unicodedata.normalize("NFD", "\u00fcn\u00ef.png"))
    source = open_source(folder)
    assert source.find("\u00dcN\u00ef") == list(source.names)


def test_ids_of_any_writing_are_names_of_their_own(tmp_path: Path) -> None:
    originals = ["\u00fcn\u00ef.png", "\u6050\u6016.png", "\u60b2.png", "\u6050 1.png",
                 "stra\u00dfe.png", "\u4e00" * 70 + ".png", "x" * 80 + "\u4e00.png"]  # fmt: skip
    folder = save(tmp_path / "p", *(name for name in originals if len(name.encode()) < 250))
    names = list(open_source(folder).names)
    table = tmp_path / "t.csv"
    table.write_text("file,valence\n" + "".join(f"{name},2\n" for name in names), encoding="utf-8")
    found = bring(folder, table, tmp_path / "set").entries
    ids = {e.made.original: e.id for e in found}  # type: ignore[union-attr]
    assert len(set(ids.values())) == len(names)
    assert (ids["\u00fcn\u00ef.png"], ids["stra\u00dfe.png"]) == ("uni", "strasse")
    assert re.fullmatch("image-[0-9a-f]{6}", ids["\u60b2.png"])
    assert re.fullmatch("1-[0-9a-f]{6}", ids["\u6050 1.png"])


def test_links_out_of_the_folder_are_left_out_and_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "a.png", "b.png")
    outside = save(tmp_path / "outside", "c.png")
    (folder / "c.png").symlink_to(outside / "c.png")
    (folder / "further").symlink_to(outside)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "same.png").symlink_to(folder / "a.png")
    table = tmp_path / "t.csv"
    table.write_text("file,valence\na,2\nb,3\nc,4\nsame,2\n")
    result = bring(folder, table, tmp_path / "set")
    assert [e.id for e in result.entries] == ["a", "b", "same"]
    assert set(result.unreadable) == {"c.png", "further", "gone.png"}
    assert "not followed" in result.unreadable["c.png"] and not result.without_image
    with pytest.raises(UserError, match="0 images, 1 links"):
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "c.png").symlink_to(outside / "c.png")
        open_source(tmp_path / "links")


def test_an_image_in_a_format_not_taken_is_told_as_one(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "a.png", "b.gif", "d.tif", "a.tif")
    table = tmp_path / "t.csv"
    table.write_text("file,valence\na,2\nb.gif,3\nmissing,3\n")
    result = bring(folder, table, tmp_path / "set")
    assert [e.id for e in result.entries] == ["a"]
    assert result.unreadable == {"b.gif": "format not taken: .gif"}
    assert result.without_image == ["missing"]
    (folder / "a.png").unlink()
    with pytest.raises(UserError, match=r"0 images, 3 of a format not taken \(a\.tif\)"):
        open_source(folder)
