"""The page: safe, self-contained, complete, and the same numbers everywhere."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emo_harness.report.page as page_module
import emo_harness.report.sections as section_package
from emo_harness.errors import UserError
from emo_harness.report.blocks import Figure, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.palette import PALETTE
from emo_harness.report.numerals import probability_cell
from emo_harness.report.page import write_page
from emo_harness.report.page_numbers import tables
from emo_harness.report.plain_text import shortened, visible
from emo_harness.report.sections import sections
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents

HOSTILE = (
    "</script><img src=x onerror=alert(1)>\x00\x1b[31m\x85\u202e\ud800]]><!-- $x_1$ \" ' &amp;"
)


@pytest.fixture(scope="module")
def usual() -> ReportContents:
    return contents(
        models=3, subtasks=4, stimuli=7, families=("attack", "prompt"), flips=24, ablations=True
    )


@pytest.fixture(scope="module")
def usual_sections(usual: ReportContents) -> list[Section]:
    return sections(usual)


@pytest.fixture(scope="module")
def page(usual: ReportContents, tmp_path_factory: pytest.TempPathFactory) -> ParsedPage:
    return ParsedPage(written(usual, tmp_path_factory.mktemp("page"))[0])


def hostile(usual: ReportContents) -> ReportContents:
    """Every text that comes from a run, a model or a user's file is an attack."""
    return replace(
        usual,
        claims=tuple(
            replace(
                c,
                label=c.label + HOSTILE,
                revision=HOSTILE,
                parsing_flag=HOSTILE,
                verdict=c.verdict,
                relative_refused=HOSTILE,
            )
            for c in usual.claims
        ),
        leaderboard=tuple(
            replace(r, claim=replace(r.claim, label=r.claim.label + HOSTILE, revision=HOSTILE))
            for r in usual.leaderboard
        ),
        rows=tuple(
            replace(
                r,
                label=r.label + HOSTILE,
                subtask=r.subtask if r.subtask == "(all)" else r.subtask + HOSTILE,
                stimulus=r.stimulus + HOSTILE,
                text=HOSTILE,
            )
            for r in usual.rows
        ),
        flips=tuple(
            replace(
                f,
                prompt_arm=HOSTILE,
                prompt_control=HOSTILE + str(f.doc_id),
                answer_arm=HOSTILE * 200,
                parsed_arm=HOSTILE,
                target=HOSTILE,
                stimulus_text=HOSTILE,
                label=f.label + HOSTILE,
            )
            for f in usual.flips
        ),
        facts=tuple(replace(f, command=HOSTILE, model=HOSTILE) for f in usual.facts),
        ablations=tuple(replace(a, series=a.series + HOSTILE) for a in usual.ablations),
        remarks=(HOSTILE,),
        command=HOSTILE,
    )


def test_policy_forbids_everything_but_the_one_script(page: ParsedPage) -> None:
    policies = [
        own["content"]
        for own in page.all("meta")
        if own.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == len(page.scripts) == 1
    directives = dict(part.strip().split(" ", 1) for part in policies[0].split(";"))
    digest = hashlib.sha256(page.scripts[0].encode()).digest()
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert directives["img-src"] == "data:"
    assert not set(directives) - {
        "default-src",
        "script-src",
        "style-src",
        "img-src",
        "base-uri",
        "form-action",
    }


def test_page_refers_to_nothing_outside_itself(page: ParsedPage) -> None:
    for _, own in page.tags:
        for name, value in own.items():
            if name in ("src", "href", "action", "data", "poster", "srcset"):
                assert value.startswith(("#", "data:")), value[:80]
    assert not re.search(r"url\((?!#|%23)", page.markup)
    assert "@import" not in page.markup


def test_hostile_text_is_shown_not_obeyed(usual: ReportContents, tmp_path: Path) -> None:
    markup, numbers = written(hostile(usual), tmp_path)
    parsed = ParsedPage(markup)
    assert len(parsed.scripts) == 1
    assert not parsed.all("img")
    assert not [n for _, own in parsed.tags for n in own if n.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", markup)
    assert "<img src=x onerror=alert(1)>␀␛[31m‹U+0085›‹U+202E›‹U+D800›" in parsed.text
    assert numbers["schema"] == 1
    for own in parsed.all("a"):
        if own["href"].startswith("data:image/svg+xml"):
            ElementTree.fromstring(unquote(own["href"].split(",", 1)[1]))  # noqa: S314, our own


@given(st.text(st.characters(), max_size=40))
def test_visible_text_fits_utf8_and_shows_every_sign(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", shown
    )
    assert len(shown) >= len(text)
    assert visible(shown) == shown


@given(st.text(max_size=300), st.integers(10, 100))
def test_shortened_text_keeps_both_ends_and_tells(text: str, most: int) -> None:
    short = shortened(text, most)
    if len(text) <= most:
        assert short == text
    else:
        assert short.startswith(text[: most // 2]) and "characters" in short


def test_every_figure_has_alternative_text_a_table_and_two_files(
    page: ParsedPage, usual_sections: list[Section]
) -> None:
    figures = [b for s in usual_sections for b in s.blocks if isinstance(b, Figure)]
    assert len(figures) >= 10
    drawings = page.all("svg")
    assert len(drawings) == len(figures)
    assert all(own["role"] == "img" and len(own["aria-label"]) > 40 for own in drawings)
    links = {own["download"]: own["href"] for own in page.all("a") if "download" in own}
    assert len(links) == 2 * len(figures)
    for figure in figures:
        assert len(page.tables[figure.table.id]) == len(figure.table.rows) + 1 > 1
        svg = ElementTree.fromstring(  # noqa: S314, our own
            unquote(links[f"{figure.id}.svg"].split(",", 1)[1])
        )
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        saved = list(csv.reader(io.StringIO(unquote(links[f"{figure.id}.csv"].split(",", 1)[1]))))
        assert saved[0] == [column.name for column in figure.table.columns]
        assert len(saved) == len(figure.table.rows) + 1
        for cells, row in zip(saved[1:], figure.table.rows, strict=True):
            for text, cell in zip(cells, row, strict=True):
                if isinstance(cell.value, float) and not math.isnan(cell.value):
                    assert float(text) == pytest.approx(cell.value, rel=1e-5)


def test_figures_take_the_colours_of_the_page(page: ParsedPage) -> None:
    drawings = re.findall(r"<svg role=.*?</svg>", page.markup, flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert not re.search(r"#[0-9a-f]{6}\b", drawing)
        assert set(re.findall(r"var\(--([\w-]+)\)", drawing)) <= set(PALETTE)


def test_every_colour_of_the_palette_is_its_own() -> None:
    assert len({colour.light for colour in PALETTE.values()}) == len(PALETTE)


def test_ids_are_unique_and_every_reference_has_its_target(page: ParsedPage) -> None:
    ids = Counter(own["id"] for _, own in page.tags if "id" in own)
    assert not [name for name, count in ids.items() if count > 1]
    wanted = {own["href"][1:] for _, own in page.tags if own.get("href", "").startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page.markup))
    assert wanted <= set(ids)


def test_every_section_is_in_the_navigation(
    page: ParsedPage, usual_sections: list[Section]
) -> None:
    links = {own["href"] for own in page.all("a")}
    assert {f"#{section.id}" for section in usual_sections} <= links
    assert all(len(section.intro) > 40 for section in usual_sections)


def test_numbers_of_the_page_are_those_of_the_json(
    usual: ReportContents, page: ParsedPage, tmp_path: Path
) -> None:
    numbers = written(usual, tmp_path)[1]
    found = [
        block.get("table", block)
        for section in numbers["sections"]
        for block in section["blocks"]
        if block["kind"] in ("table", "figure")
    ]
    assert {table["id"] for table in found} == set(page.tables)
    compared = 0
    for table in found:
        shown = page.tables[table["id"]]
        assert shown[0] == table["columns"]
        for texts, values in zip(shown[1:], table["rows"], strict=True):
            for text, value in zip(texts, values, strict=True):
                compared += _agree(text, value)
    assert compared > 1000


def _agree(text: str, value: object) -> bool:
    """Whether a number was compared; a rounded number must round from the raw one."""
    plain = text.replace("\u2212", "-").replace("\u00a0", " ").replace(",", "")
    if value is None:
        assert text == "–"
        return False
    if not isinstance(value, float) or not re.fullmatch(r"[+-]?\d+(\.\d+)?", plain):
        return False
    decimals = len(plain.partition(".")[2])
    assert abs(float(plain) - value) <= 0.5000001 * 10**-decimals, (text, value)
    return True


def test_verdicts_come_first_and_say_everything(usual: ReportContents, page: ParsedPage) -> None:
    start = page.text[: page.text.index("Leaderboard", page.text.index("paired by question"))]
    for claim in usual.claims:
        assert start.count(f"{claim.label} · {claim.family}") == 1
        assert claim.verdict in start
        assert f"{claim.n_questions:,} questions" in start
        assert f"{abs(claim.gain_pp):.2f}" in start
        assert f"{abs(claim.placebo_gain_pp):.2f}" in start
    assert "margin 1 pp" in start and "Holm" in start


def test_no_place_stands_alone(page: ParsedPage) -> None:
    heading, *rows = page.tables["leaderboard-table"]
    places = [row[heading.index("place")] for row in rows]
    assert len(places) == 6
    assert all(re.fullmatch(r"\d+(–\d+)?\u00a0of\u00a03", place) for place in places)


def test_words_of_the_house(page: ParsedPage) -> None:
    assert "significan" not in page.text.lower()
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())


def test_heading_counts_models_not_settings_and_tells_a_range(tmp_path: Path) -> None:
    made = contents(models=2, subtasks=1, stimuli=2, flips=0)
    one, other = made.claims
    other = replace(other, model=one.model, n_questions=1400)
    text = written(replace(made, claims=(one, other)), tmp_path)[1]["heading"]
    assert text == f"{one.model} under 2 settings · bbh · attack · 250–1,400 questions per arm"


def test_every_numeric_cell_sorts_by_its_value(
    usual_sections: list[Section], page: ParsedPage
) -> None:
    compared = 0
    for table in tables(usual_sections):
        for row in table.rows:
            for cell, column in zip(row, table.columns, strict=True):
                if not column.numeric or cell.text == "–":
                    continue
                key = page_module._sort_key(cell) or cell.text
                number = key.replace("\u2212", "-").replace(",", "").split()[0].split("\u00a0")[0]
                value = cell.value[0] if isinstance(cell.value, tuple) else cell.value
                decimals = len(re.split(r"[\[ \u00a0]", cell.text)[0].partition(".")[2])
                near = max(0.51 * 10**-decimals, 1e-5 * abs(value))
                assert abs(float(number) - value) <= near or column.name == "place", cell
                compared += 1
    assert compared > 1000


def test_small_p_values_are_sorted_though_shown_alike() -> None:
    assert page_module._sort_key(probability_cell(2e-5)) == "2e-05"
    assert page_module._sort_key(probability_cell(0.5)) == ""
    assert page_module._sort_key(probability_cell(math.nan)) == ""


def test_every_sentence_is_told(usual: ReportContents, page: ParsedPage) -> None:
    heading, *rows = page.tables["stimuli-sentences"]
    told = {row[heading.index("text")] for row in rows}
    assert told == {row.text for row in usual.rows if row.kind == "stimulus"}
    assert len(rows) == len(told)


def test_same_contents_give_the_same_bytes(usual: ReportContents, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_page(usual, tmp_path / name)
    for file in ("report.html", "report.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_users_own_settings_of_matplotlib_change_nothing(
    usual: ReportContents, tmp_path: Path
) -> None:
    write_page(usual, tmp_path / "plain")
    with matplotlib.rc_context({"text.usetex": True, "axes.grid": True, "font.size": 20}):
        write_page(usual, tmp_path / "own")
    plain, own = ((tmp_path / name / "report.html").read_bytes() for name in ("plain", "own"))
    assert plain == own


@pytest.mark.slow
def test_a_big_report_is_below_five_megabytes(tmp_path: Path) -> None:
    made = contents(models=5, subtasks=27, stimuli=22, flips=300, ablations=True)
    long = "It was a long answer, and it went on. " * 40
    made = replace(
        made,
        flips=tuple(
            replace(f, answer_control=long + f.answer_control, answer_arm=long + f.answer_arm)
            for f in made.flips
        ),
    )
    write_page(made, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 3_500_000


def test_a_folder_that_cannot_be_written_is_told(usual: ReportContents, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        write_page(usual, tmp_path / "taken")


def test_a_new_section_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    (run / "posthoc").mkdir(parents=True)
    (run / "posthoc" / "probe.json").write_text(json.dumps({"layers": [0.25, 0.75]}))
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "probe_test_section.py").write_text(
        "import json\n"
        "from emo_harness.report.blocks import Cell, Column, Section, Table\n"
        "ORDER = 120\n"
        "def section(contents):\n"
        "    found = [p for run in contents.run_folders for p in run.glob('posthoc/probe.json')]\n"
        "    if not found:\n"
        "        return None\n"
        "    layers = json.loads(found[0].read_text())['layers']\n"
        "    rows = [[Cell(i, str(i)), Cell(v, f'{v:.2f}')] for i, v in enumerate(layers)]\n"
        "    columns = [Column('layer'), Column('fit', numeric=True)]\n"
        "    intro = 'How well a probe reads valence from each layer of the model.'\n"
        "    return Section('probe', 'Probe', intro, [Table('probe-t', 'Fit', columns, rows)])\n"
    )
    monkeypatch.setattr(section_package, "__path__", [*section_package.__path__, str(modules)])
    made = contents(models=1, subtasks=1, stimuli=1, flips=0, run_folders=(run,))
    markup, numbers = written(made, tmp_path / "out")
    assert ParsedPage(markup).tables["probe-t"][1:] == [["0", "0.25"], ["1", "0.75"]]
    order = [section["id"] for section in numbers["sections"]]
    assert order.index("power") < order.index("probe") < order.index("validity")
    assert "probe" not in [s.id for s in sections(replace(made, run_folders=()))]


def test_a_table_refuses_rows_of_another_width() -> None:
    with pytest.raises(ValueError, match="cells"):
        Table("t", "", [], [[None]])  # type: ignore[list-item]
