"""Rated photographs: which columns are what, which image is whose, and what is not copied."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from emo_harness.cli.images import app
from emo_harness.errors import UserError
from emo_harness.image_file import open_image, pixels_sha256
from emo_harness.images import ImageSet, load_image_set
from emo_harness.images.image_source import open_source
from emo_harness.images.importing import concept_of
from emo_harness.images.norms import decimal_commas, ratings, read_table
from emo_harness.images.png_facts import read_facts
from emo_harness.images.rating_columns import columns_of
from tests.conftest import SHARED
from tests.images.rated_images import bring, random_image, save

OASIS = "Theme,Category,Source,Valence_mean,Valence_SD,Valence_N,Arousal_mean,Arousal_SD,Arousal_N"
IAPS = "desc\tIAPS\tvalmn\tvalsd\taromn\tarosd\tset"


@pytest.fixture
def oasis(tmp_path: Path) -> tuple[Path, Path]:
    folder = save(tmp_path / "oasis", "Images/Acorns 1.jpg", "Images/Dog 6.jpg", "Images/War 1.jpg")
    table = tmp_path / "OASIS.csv"
    rows = [
        "Acorns 1,Object,p,4.6,1.1,105,2.3,1.4,102",
        "Dog 6,Animal,p,6.5,0.9,103,4.5,1.8,99",
        "Fire 9,Scene,p,3.0,1.0,100,5.0,1.0,100",
    ]
    table.write_text("\n".join([OASIS, *rows]) + "\n")
    return folder, table


def test_tables_as_they_are_published_are_understood(oasis: tuple[Path, Path]) -> None:
    read = read_table(oasis[1])
    columns = columns_of(read, open_source(oasis[0]).find)
    assert (columns.file, columns.valence, columns.arousal) == (
        "Theme", "Valence_mean", "Arousal_mean",
    )  # fmt: skip
    assert (columns.valence_sd, columns.arousal_sd) == ("Valence_SD", "Arousal_SD")
    assert columns.n == ("Valence_N", "Arousal_N") and columns.concept == "Category"
    assert columns.guessed["valence"] == "Valence_mean"


def test_norms_and_facts_go_into_the_manifest(oasis: tuple[Path, Path], tmp_path: Path) -> None:
    result = bring(*oasis, tmp_path / "set", licence="research only")
    assert result.without_image == ["Fire 9"]
    assert result.without_rating == ["Images/War 1.jpg"]
    found = load_image_set(tmp_path / "set")
    acorns = found.entry("acorns-1")
    assert acorns.norms is not None and acorns.made.how == "imported"
    assert (acorns.norms.valence, acorns.norms.arousal) == (4.6, 2.3)
    assert (acorns.norms.valence_sd, acorns.norms.n_raters) == (1.1, 102)
    assert acorns.norms.scale == (1.0, 7.0) and acorns.concept == "Object"
    assert (acorns.made.original, acorns.made.licence) == ("Images/Acorns 1.jpg", "research only")
    original = open_image(oasis[0] / "Images" / "Acorns 1.jpg")
    assert pixels_sha256(found.open(acorns)) == pixels_sha256(original)
    facts = read_facts(found.path(acorns))
    assert facts and facts["made"]["licence"] == "research only"
    assert found.stimulus(acorns).image.norm_valence == 4.6  # type: ignore[union-attr]


def test_what_may_not_be_redistributed_is_referenced_and_its_pixels_are_checked(
    oasis: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "sets" / "set"
    bring(*oasis, out, reference=True)
    assert [path.name for path in out.iterdir()] == ["manifest.jsonl"]
    found = load_image_set(out)
    assert str(tmp_path) not in (out / "manifest.jsonl").read_text()
    for entry in found.entries:
        found.open(entry)
    random_image(99).save(oasis[0] / "Images" / "Acorns 1.jpg")
    with pytest.raises(UserError, match="as the manifest says"):
        found.open(found.entry("acorns-1"))


def test_another_delimiter_glued_headings_and_numbers_as_names(tmp_path: Path) -> None:
    folder = save(tmp_path / "iaps", "1050.jpg", "7010.jpg", "control.jpg")
    table = tmp_path / "norms.txt"
    rows = [
        "Snake\t1050\t3.46\t2.15\t6.87\t1.68\t1",
        "Basket\t7010\t4.94\t1.07\t1.76\t1.48\t1",
        "Calm\tcontrol\t8.2\t\tNA\t\t1",
    ]
    table.write_text("\n".join([IAPS, *rows]), encoding="utf-8-sig")
    bring(folder, table, tmp_path / "set")
    found = load_image_set(tmp_path / "set")
    assert [e.id for e in found.entries] == ["1050", "7010", "image-control"]
    norms = found.entries[0].norms
    assert norms is not None and (norms.valence, norms.arousal_sd) == (3.46, 1.68)
    assert norms.scale == (1.0, 9.0) and norms.n_raters is None
    assert found.entries[2].norms.arousal is None  # type: ignore[union-attr]
    assert found.entries[0].concept == "Snake"


@pytest.mark.parametrize(
    ("header", "named", "told"),
    [
        ("file,val_mean_us,val_mean_ch", {}, r"val_mean_us, val_mean_ch(.|\n)*--raters"),
        ("file,mood,power", {}, "columns file, mood, power"),
        ("file,valence,valence", {}, "'valence' twice"),
        ("other,valence,arousal", {"file": "name"}, r"no column 'name'(.|\n)*other, valence"),
        ("file,val_mean_us,val_mean_ch", {"raters": "uk"}, r"'uk'(.|\n)*ch, us"),
        ("file,valence,arousal", {"raters": "uk"}, r"here none does(.|\n)*leave --raters out"),
    ],
)
def test_what_is_not_clear_is_asked_for_with_the_columns(
    tmp_path: Path, header: str, named: dict[str, str], told: str
) -> None:
    folder = save(tmp_path / "p", "a.png", "b.png")
    table = tmp_path / "t.csv"
    table.write_text(f"{header}\na,2,3\nb,3,4\n")
    with pytest.raises(UserError, match=told):
        bring(folder, table, tmp_path / "set", **named)


@pytest.mark.parametrize("named", [{"raters": "ch"}, {"valence": "val_mean_ch"}])
def test_a_group_of_raters_is_kept_to(tmp_path: Path, named: dict[str, str]) -> None:
    folder = save(tmp_path / "p", "a.png", "b.png")
    table = tmp_path / "t.csv"
    table.write_text(
        "file,val_mean_us,aro_mean_us,aro_n_us,val_mean_ch,aro_mean_ch,aro_n_ch\n"
        "a,2,3,50,4,5,60\nb,2,3,50,4,5,60\n"
    )
    norms = bring(folder, table, tmp_path / "set", **named).entries[0].norms
    assert norms is not None
    assert (norms.valence, norms.arousal, norms.n_raters) == (4.0, 5.0, 60)


@pytest.mark.parametrize(
    ("rows", "scale", "told"),
    [
        ("a,2\nA.png,3", None, "again, after line 2"),
        ("a,2\nb,much", None, "line 3, column valence: 'much'"),
        ("a,2\nb,11", None, r"means from 2 to 11(.|\n)*--scale"),
        ("a,2\nb,8", (1.0, 7.0), "line 3: a mean of 8"),
        ("a,2,7\nb,3", None, r"3 cells under 2 names(.|\n)*holds a comma in double quotes"),
        ("a,2\nb,inf", None, r"'inf'(.|\n)*a finite number"),
        ("x,2\ny,3", None, "no column whose cells name images"),
    ],
)
def test_rows_that_cannot_be_right_are_refused_by_line(
    tmp_path: Path, rows: str, scale: Any, told: str
) -> None:
    folder = save(tmp_path / "p", "a.png", "b.png")
    table = tmp_path / "t.csv"
    table.write_text(f"file,valence\n{rows}\n")
    with pytest.raises(UserError, match=told):
        bring(folder, table, tmp_path / "set", scale)
    assert not (tmp_path / "set" / "manifest.jsonl").exists()


def test_a_name_of_two_images_is_not_guessed(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "x/a.png", "y/a.png")
    table = tmp_path / "t.csv"
    table.write_text("file,valence\na,2\nx/a.png,2\n")
    with pytest.raises(UserError, match=re.escape("x/a.png, y/a.png")):
        bring(folder, table, tmp_path / "set")
    table.write_text("file,valence\ny/a.png,2\nx/a.png,3\n")
    assert [e.id for e in bring(folder, table, tmp_path / "set").entries] == ["a", "a-2"]


def test_broken_images_are_left_out_and_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "a.png", "b.png")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:40])
    table = tmp_path / "t.csv"
    table.write_text("file,valence\na,2\nb,3\n")
    result = bring(folder, table, tmp_path / "set")
    assert [e.id for e in result.entries] == ["a"] and list(result.unreadable) == ["b.png"]


def test_a_set_does_not_grow_into_its_source_or_over_another_set(
    oasis: tuple[Path, Path], tmp_path: Path
) -> None:
    for out in (oasis[0], oasis[0] / "set"):
        with pytest.raises(UserError, match="choose another --out"):
            bring(*oasis, out)
    bring(*oasis, tmp_path / "set")
    before = (tmp_path / "set" / "manifest.jsonl").read_bytes()
    bring(*oasis, tmp_path / "set")
    assert (tmp_path / "set" / "manifest.jsonl").read_bytes() == before


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def as_png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_an_archive_is_read_without_unpacking_and_within_the_budget(tmp_path: Path) -> None:
    from emo_harness.image_file import MAX_BYTES

    place = archive(
        tmp_path / "p.zip",
        {
            "a.png": as_png(random_image(1)),
            "../../evil.png": as_png(random_image(2)),
            "__MACOSX/._a.png": b"junk",
            "bomb.png": bytes(MAX_BYTES + 1),
        },
    )
    table = tmp_path / "t.csv"
    table.write_text("file,valence\na,2\nbomb,3\nevil,4\n")
    result = bring(place, table, tmp_path / "inner" / "set")
    assert [e.id for e in result.entries] == ["a"] and "bomb.png" in result.unreadable
    assert result.without_image == ["evil"]
    assert {p.name for p in tmp_path.rglob("*.png")} == {"a.png"}
    assert (tmp_path / "inner" / "set" / "a.png").is_file()
    with pytest.raises(UserError, match="ZIP archive"):
        bring(place, table, tmp_path / "set", reference=True)
    (tmp_path / "no.zip").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match="no ZIP archive"):
        open_source(tmp_path / "no.zip")


def test_a_damaged_file_of_an_archive_is_left_out_and_told(tmp_path: Path) -> None:
    good, bad = as_png(random_image(1)), b"flat" * 9_000
    place = archive(tmp_path / "p.zip", {"bad.png": bad, "good.png": good})
    content = bytearray(place.read_bytes())
    body = content.index(b"bad.png") + len("bad.png")
    content[body : body + 20] = bytes(byte ^ 0xFF for byte in content[body : body + 20])
    place.write_bytes(bytes(content))
    table = tmp_path / "t.csv"
    table.write_text("file,valence\nbad,2\ngood,3\n")
    result = bring(place, table, tmp_path / "set")
    assert [e.id for e in result.entries] == ["good"] and list(result.unreadable) == ["bad.png"]


def test_an_archive_with_any_byte_harmed_gives_images_or_a_user_error(tmp_path: Path) -> None:
    place = archive(tmp_path / "p.zip", {"a.png": as_png(random_image(1)), "b.png": b"no" * 99})
    whole = place.read_bytes()
    for position in range(0, len(whole), 2):
        harmed = bytearray(whole)
        harmed[position] ^= 0xFF
        place.write_bytes(bytes(harmed))
        try:
            source = open_source(place)
        except UserError:
            continue
        for name in source.names:
            try:
                assert source.open(name).size == (5, 6)
            except UserError:
                continue


def test_a_name_that_is_reserved_gets_another_id(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "grey.png", "All.png", "image-grey.png")
    table = tmp_path / "t.csv"
    table.write_text("file,valence\ngrey,2\nall,3\nimage-grey,4\n")
    ids = [entry.id for entry in bring(folder, table, tmp_path / "set").entries]
    assert ids == ["image-grey", "image-all", "image-grey-2"]


def test_an_imported_set_is_replaced_whole_and_that_is_told(tmp_path: Path) -> None:
    folder, out, table = save(tmp_path / "p", "a.png", "b.png"), tmp_path / "set", tmp_path / "t"
    table.write_text("file,valence\na,2\nb,3\n")
    assert bring(folder, table, out).n_replaced == 0
    (out / "notes.png").write_bytes(b"mine")
    table.write_text("file,valence\nb,3\n")
    result = bring(folder, table, out)
    assert (result.n_replaced, result.removed) == (2, ["a.png"])
    assert {p.name for p in out.iterdir()} == {"b.png", "manifest.jsonl", "notes.png"}
    result = bring(folder, table, out, reference=True)
    assert result.removed == ["b.png"] and (out / "notes.png").read_bytes() == b"mine"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_read_where_the_whole_column_has_them(
    tmp_path: Path, delimiter: str
) -> None:
    folder, table = save(tmp_path / "p", "a.png", "b.png"), tmp_path / "t.csv"
    text = "file;valence;arousal\na;3,5;2.5\nb;4;NA\n"
    table.write_text(text.replace(";", delimiter))
    read = read_table(table)
    found = ratings(read, columns_of(read, open_source(folder).find))
    assert [(one.valence, one.arousal) for one in found] == [(3.5, 2.5), (4.0, None)]
    assert decimal_commas(read, columns_of(read, open_source(folder).find)) == ("valence",)
    table.write_text(text.replace("b;4;", "b;4.5;").replace(";", delimiter))
    with pytest.raises(UserError, match=r"'3,5'(.|\n)*with a point or a comma"):
        bring(folder, table, tmp_path / "set")


def test_a_dimension_of_which_nothing_is_known_is_told(tmp_path: Path) -> None:
    folder, table = save(tmp_path / "p", "a.png", "b.png"), tmp_path / "t.csv"
    for text in ("file,valence,arousal\na,2,NA\nb,3,\n", "file,valence\na,2\nb,3\n"):
        table.write_text(text)
        args = ["import", str(folder), "--ratings", str(table), "--out", str(tmp_path / "set")]
        done = CliRunner().invoke(app, [*args, "--json"])
        assert json.loads(done.stdout.splitlines()[-1])["unknown"] == ["arousal"]
        assert "no arousal is known" in done.stderr


@pytest.mark.parametrize(
    ("name", "told", "concept"),
    [
        ("abuse2.png", None, "abuse"),
        ("x/Acorns 1.jpg", None, "Acorns"),
        ("1050.jpg", None, "1050"),
        ("a.png", " , fight; anger", "fight"),
    ],
)
def test_a_concept_is_the_first_keyword_or_the_name(
    name: str, told: str | None, concept: str
) -> None:
    assert concept_of(name, told) == concept


@pytest.fixture(scope="session")
def bass_folder() -> Path:
    folder = SHARED / "data" / "bass"
    if not folder.is_dir():
        pytest.skip("published BASS data not at hand (../shared/data/bass)")
    return folder


def test_published_norms_come_in_as_they_are(bass_folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["import", str(bass_folder / "BASS_images.zip"), "--ratings",
         str(bass_folder / "BASS_data.csv"), "--raters", "us", "--out", str(tmp_path),
         "--licence", "CC BY 4.0", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["n_images"], told["scale"]) == (583, [1.0, 9.0])
    assert not told["without_image"] and not told["unreadable"]
    found: ImageSet = load_image_set(tmp_path)
    with (bass_folder / "BASS_data.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["file_name"]: row for row in csv.DictReader(file)}
    assert len(found.entries) == len(rows) == 583
    for entry in found.entries:
        assert entry.made.how == "imported" and entry.norms is not None
        row = rows[Path(entry.made.original).name]
        assert entry.norms.valence == float(row["val_mean_us"])
        assert entry.norms.arousal == float(row["aro_mean_us"])
        assert entry.norms.valence_sd == float(row["val_sd_us"])
        assert entry.norms.n_raters == min(int(row["val_n_us"]), int(row["aro_n_us"]))
        assert entry.concept == row["keywords"].split(",")[0].strip()
        found.open(entry)
