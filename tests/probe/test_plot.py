"""`emo probe plot`: its files, its words, what it refuses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from emo_harness.axes import save_axes
from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.report.figures.label_places import label_places
from emo_harness.report.geometry import GeometryNumbers, geometry_writers
from tests.probe.made_words import made_axes, made_results, made_store, made_table
from tests.report.parsed_page import ParsedPage

EVIL = "<img src=x onerror=alert(1)>"


def plot(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["probe", "plot", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that can be plotted, one word of it hostile, and its plots."""
    folder = tmp_path_factory.mktemp("made")
    table = made_table(30, 8)
    table["template_text"] = table["template_text"] + " </script><b>"
    store = made_store(folder / "store", table)
    index = store.index
    index["word"] = index["word"].where(index["word"] != "word3", EVIL)
    index.to_parquet(folder / "store" / "index.parquet")
    made_store(folder / "other", made_table(30, 8), seed=7, name="other/model")
    save_axes(folder / "axes.safetensors", made_axes())
    (folder / "evaluation").mkdir()
    results = pd.concat([made_results(), made_results("arousal")])
    results.to_parquet(folder / "evaluation" / "results.parquet")
    words = [f"word{i}" for i in range(30)]
    norms = pd.DataFrame({"word": words, "valence": range(30), "arousal": range(30, 0, -1)})
    norms.to_csv(folder / "norms.csv", index=False)
    (folder / "run").mkdir()
    done = plot(
        *(folder / "store", "--axes", folder / "axes.safetensors"),
        *("--evaluation", folder / "evaluation", "--norms", folder / "norms.csv"),
        *("--other", folder / "other", "--run", folder / "run", "--templates", 2),
        *("--out", folder / "out"),
    )
    assert done.exit_code == 0, done.output
    assert "Words held out" in done.output and "posthoc" in done.output
    return folder


def test_numbers_page_and_drawings_lie_in_the_folder(made: Path) -> None:
    out = made / "out"
    numbers = json.loads((out / "geometry.json").read_text("utf-8"))
    assert numbers == json.loads((made / "run" / "posthoc" / "geometry.json").read_text("utf-8"))
    assert {"geometry.html", "value_space_3d.html"} <= {p.name for p in out.iterdir()}
    drawings = sorted(out.glob("*.svg"))
    assert len(drawings) >= 9
    for path in drawings:
        ElementTree.parse(path)  # noqa: S314, our own
    assert (out / "geometry.html").stat().st_size < 4_000_000


def test_the_page_stands_alone_and_words_are_text(made: Path) -> None:
    markup = (made / "out" / "geometry.html").read_text("utf-8")
    page = ParsedPage(markup)
    assert EVIL in page.text and EVIL not in markup
    assert not page.all("img") and len(page.scripts) == 1
    links = {own["href"] for own in page.all("a") if not own["href"].startswith(("#", "data:"))}
    assert links == {"value_space_3d.html"}
    assert "geometry.json" in page.text


def test_what_turns_asks_for_no_network_and_words_are_text(made: Path) -> None:
    markup = (made / "out" / "value_space_3d.html").read_text("utf-8")
    page = ParsedPage(markup)
    assert EVIL not in markup and "onerror=alert(1)>" not in markup
    assert not [own for own in page.all("script") if "src" in own]
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    assert markup.count("<script") == markup.count("</script>") or page.scripts


def test_json_is_the_numbers_alone(made: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["probe", "plot", str(made / "store"), "--out", str(made / "b"), "--json"],
    )
    assert GeometryNumbers.model_validate(json.loads(done.stdout)).planes[0].how == "held-out words"


def test_a_corpus_of_one_dimension_has_no_plane_and_still_a_page(tmp_path: Path) -> None:
    table = made_table(20, 4)
    table["arousal"] = pd.array([None] * len(table), "Int8")
    made_store(tmp_path / "store", table)
    done = plot(tmp_path / "store", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    ids = {own.get("id") for own in markup_of(tmp_path / "out").all("section")}
    assert "geometry-plane" not in ids and "geometry-space" in ids


def markup_of(folder: Path) -> ParsedPage:
    return ParsedPage((folder / "geometry.html").read_text("utf-8"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--axes", "nothing.safetensors"], "no such file"),
        (["--evaluation", "nothing"], "no results.parquet"),
        (["--run", "nothing"], "no folder nothing"),
        (["--other", "nothing"], "manifest.json"),
        (["--norms", "nothing.csv"], "nothing.csv"),
        (["--site", "mind"], "no site 'mind'"),
        (["--trajectory-model", "model"], "a valence or arousal axis"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    made: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = plot(made / "store", "--out", tmp_path / "out", *arguments)
    assert isinstance(done.exception, UserError) and words in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_labels_cover_neither_each_other_nor_points() -> None:
    import numpy as np

    points = np.random.default_rng(0).uniform(0, 400, (150, 2))
    labels = [f"label{i}" for i in range(150)]
    places = label_places(points, labels, range(150), (400, 400), 9)
    assert 10 < len(places) < 150
    half = np.array([len("label10") * 0.56 * 9 / 2, 5])
    centres = np.array([(p.x_px, p.y_px) for p in places])
    apart = np.abs(centres[:, None] - centres)
    width = np.array([len(labels[p.point]) * 0.56 * 9 for p in places])
    clash = (apart[..., 0] < (width[:, None] + width) / 2 - 1e-6) & (apart[..., 1] < 10 - 1e-6)
    np.fill_diagonal(clash, val=False)
    assert not clash.any()
    assert (centres - half >= -10).all() and (centres + half <= 410).all()


def test_equal_numbers_give_equal_drawings(made: Path) -> None:
    numbers = GeometryNumbers.model_validate(
        json.loads((made / "out" / "geometry.json").read_text("utf-8"))
    )
    for name, write in geometry_writers(numbers).items():
        if name.endswith(".svg"):
            write(made / "again.svg")
            assert (made / "again.svg").read_bytes() == (made / "out" / name).read_bytes()
