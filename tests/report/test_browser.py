"""The page in a real browser, opened from disk with the network off.

Debian's `chromium` driven by Playwright; skipped where either is absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_harness.report.page import write_page
from tests.report.browser import A4_INNER, NARROW, WIDE, Open
from tests.report.synthetic import contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    made = contents(
        models=5, subtasks=6, stimuli=9, families=("attack", "prompt"), flips=40, ablations=True
    )
    write_page(made, folder)
    return (folder / "report.html").as_uri()


def column(page: Any, table: str, name: str) -> list[str]:
    """The texts of a column's cells, of rows that are shown, from top to bottom."""
    return page.evaluate(
        """([id, name]) => {
            const table = document.getElementById(id);
            const heads = [...table.tHead.rows[0].cells].map((c) => c.textContent.trim());
            return [...table.tBodies[0].rows].filter((row) => !row.hidden)
                .map((row) => row.cells[heads.indexOf(name)].textContent);
        }""",
        [table, name],
    )


def number(text: str) -> float:
    return float(text.replace("\u2212", "-").replace(",", "").split()[0])


def sorting_button(page: Any, table: str, name: str) -> Any:
    return page.locator(f"#{table} thead").get_by_role("button", name=name, exact=True)


def test_page_opens_and_shows_every_section(opened: Open) -> None:
    page = opened()
    assert page.title().startswith("emo-harness report")
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).is_visible()
    assert page.locator("figure svg").first.bounding_box()["height"] > 100


def test_a_click_on_a_heading_sorts_by_number_and_back(opened: Open) -> None:
    page = opened()
    button = sorting_button(page, "leaderboard-table", "gain pp (robustness)")
    header = button.locator("xpath=..")
    for direction, descending in (("ascending", False), ("descending", True)):
        button.click()
        gains = [number(t) for t in column(page, "leaderboard-table", "gain pp (robustness)")]
        assert gains == sorted(gains, reverse=descending) and len(gains) == 10
        assert header.get_attribute("aria-sort") == direction


def test_sorting_works_from_the_keyboard(opened: Open) -> None:
    page = opened()
    sorting_button(page, "leaderboard-table", "model").focus()
    page.keyboard.press("Enter")
    names = column(page, "leaderboard-table", "model")
    assert names == sorted(names, key=str.lower)


def test_the_first_stop_of_the_keyboard_skips_to_the_content(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_filter_leaves_the_rows_of_one_value(opened: Open) -> None:
    page = opened()
    tools = page.locator(".grid", has=page.locator("#leaderboard-table")).locator(".tools")
    tools.locator("label", has_text="family").locator("select").select_option("prompt")
    assert column(page, "leaderboard-table", "family") == ["prompt"] * 5
    assert tools.locator("output").inner_text() == "5 of 10 rows"
    tools.locator("label", has_text="family").locator("select").select_option("")
    assert len(column(page, "leaderboard-table", "family")) == 10


def test_search_finds_rows_and_flips(opened: Open) -> None:
    page = opened()
    tools = page.locator(".grid", has=page.locator("#leaderboard-table")).locator(".tools")
    tools.get_by_role("searchbox").fill("GEMMA")
    assert column(page, "leaderboard-table", "model") == ["gemma-3-12b-it"] * 2
    flips = page.locator(".flips")
    before = flips.locator(".flip:not([hidden])").count()
    flips.get_by_role("searchbox").fill("navigate no such answer")
    assert flips.locator(".flip:not([hidden])").count() == 0
    flips.get_by_role("searchbox").fill("causal_judgement")
    found = flips.locator(".flip:not([hidden])").count()
    assert 0 < found < before
    flips.locator("select").select_option("fixed")
    assert 0 < flips.locator(".flip:not([hidden])").count() < found
    assert flips.locator(".flip.down:not([hidden])").count() == 0


def test_a_flip_unfolds_with_both_prompts_and_the_stimulus_marked(opened: Open) -> None:
    page = opened()
    flip = page.locator(".flip").first
    flip.locator("summary").click()
    assert flip.locator(".sides > div").count() == 2
    assert flip.locator("pre mark").inner_text().strip()


def test_without_scripts_everything_is_there_and_nothing_is_dead(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("main > section").count() >= 9
    assert page.locator("button, select, input").count() == 0
    details = page.locator("figure details").first
    assert not details.locator("table").is_visible()
    details.locator("summary").click()
    assert details.locator("table").is_visible()


def test_figures_are_saved_without_scripts(opened: Open, tmp_path: Path) -> None:
    page = opened(java_script_enabled=False, accept_downloads=True)
    for name, start in (("SVG", "<svg "), ("CSV", "stimuli,model,n,")):
        with page.expect_download() as saved:
            page.locator("#gains figure a", has_text=name).first.click()
        saved.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_text("utf-8").startswith(start)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", [WIDE, 768, NARROW])
def test_the_page_never_scrolls_sideways(opened: Open, width: int, scripts: bool) -> None:
    page = opened(width, java_script_enabled=scripts)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_leaderboard_fits_a_common_window(opened: Open) -> None:
    board = opened(1280).locator("#leaderboard .scroll").first
    assert board.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 1


def test_nothing_runs_off_a_printed_page(opened: Open) -> None:
    page = opened(A4_INNER)
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    over = page.evaluate(
        """(width) => [...document.querySelectorAll("table, svg, pre")]
            .filter((e) => e.getBoundingClientRect().right > width + 1)
            .map((e) => e.id || e.localName)""",
        A4_INNER,
    )
    assert over == []


def test_text_stands_out_in_light_and_dark(opened: Open) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        inks = page.evaluate(
            """[...document.querySelectorAll("p, td, th, svg text, .badge, a, summary")]
                .map((e) => getComputedStyle(e)[e.localName === "text" ? "fill" : "color"])"""
        )
        papers.append(paper)
        assert min(contrast(ink, paper) for ink in set(inks)) >= 4.5
    assert luminance(papers[0]) > 0.8 and luminance(papers[1]) < 0.05


def test_print_shows_folded_maps(opened: Open) -> None:
    page = opened()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    maps = page.locator("#map svg")
    assert maps.count() == 10
    assert all(one.is_visible() for one in maps.all())
    assert not page.locator("nav").is_visible()


def luminance(colour: str) -> float:
    """Relative luminance of a CSS `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(float(v)) / 255 for v in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast of two colours (WCAG 2.2), 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
