"""Shaded prompts in a real browser: readable in every dress, with and without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_harness.report.page import write_page
from tests.report.browser import A4_INNER, NARROW, WIDE, Open
from tests.report.synthetic import contents
from tests.report.synthetic_attribution import attribution, with_posthoc
from tests.report.test_browser import contrast

pytestmark = pytest.mark.slow
OPEN_ALL = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
SHADES = [f"{kind}{number}" for kind in "uds" for number in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("attribution")
    run = with_posthoc(folder / "run", attribution(flips=3, question_chars=900))
    made = contents(models=1, subtasks=2, stimuli=2, flips=2, run_folders=(run,))
    write_page(made, folder)
    return (folder / "report.html").as_uri()


def styles(page: Any, shade: str) -> dict[str, str]:
    """What words of a shade look like."""
    return page.evaluate(
        """(shade) => {
            const word = document.querySelector(`#attribution .prompt .${shade}`);
            const style = getComputedStyle(word);
            const {color, backgroundColor, borderBottomStyle, borderBottomWidth} = style;
            return {color, backgroundColor, borderBottomStyle, borderBottomWidth};
        }""",
        shade,
    )


def test_the_first_prompt_is_shaded_and_its_stimulus_in_sight(opened: Open) -> None:
    page = opened()
    first = page.locator("#attribution .picture").first
    assert first.locator(".prompt").count() == 2
    assert first.locator("mark").is_visible() and first.locator("b.u2, b.d2").first.is_visible()
    assert not page.locator("#attribution .picture").nth(1).locator(".prompt").first.is_visible()


def test_methods_are_switched_without_scripts(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    second = page.locator("#attribution .picture").nth(1)
    second.locator("summary").click()
    assert second.locator(".prompt").first.is_visible()


def test_the_keyboard_gets_a_words_number(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    word = page.locator("#attribution .picture").first.locator("mark b[tabindex]").first
    word.focus()
    shown = word.evaluate("(e) => getComputedStyle(e, '::after').content")
    assert shown.strip('"') == word.get_attribute("title") != ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_shade_can_be_read(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    page.evaluate(OPEN_ALL)
    for shade in SHADES:
        found = styles(page, shade)
        assert contrast(found["color"], found["backgroundColor"]) >= 4.5, shade


def test_direction_and_strength_are_told_without_colour(opened: Open) -> None:
    page = opened()
    for kind, line in (("u", "solid"), ("d", "dotted"), ("s", "solid")):
        found = [styles(page, f"{kind}{number}") for number in (1, 2, 3, 4)]
        assert {one["borderBottomStyle"] for one in found} == {line}
        widths = [float(one["borderBottomWidth"].removesuffix("px")) for one in found]
        assert widths == sorted(widths) and len(set(widths)) == 4


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", [WIDE, 700, NARROW])
def test_the_page_never_scrolls_sideways(opened: Open, width: int, scripts: bool) -> None:
    page = opened(width, java_script_enabled=scripts)
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_shows_every_flip_by_the_reference_and_nothing_runs_off(opened: Open) -> None:
    page = opened(A4_INNER)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    items = page.locator("#attribution .shades").first.locator(".shade")
    assert items.count() == 3
    for item in items.all():
        assert item.locator(".prompt mark").first.is_visible()
    over = page.evaluate(
        """(width) => [...document.querySelectorAll("#attribution .prompt *, #attribution .key b")]
            .filter((e) => e.getBoundingClientRect().right > width + 1)
            .map((e) => e.textContent)""",
        A4_INNER,
    )
    assert over == []
    word = page.locator("#attribution .prompt b.u1").first
    assert word.evaluate("(e) => getComputedStyle(e).printColorAdjust") == "exact"


def test_all_words_are_saved_without_scripts(opened: Open, tmp_path: Path) -> None:
    page = opened(java_script_enabled=False, accept_downloads=True)
    with page.expect_download() as saved:
        page.locator("#attribution a", has_text="CSV of all words").first.click()
    saved.value.save_as(tmp_path / "words.csv")
    assert (tmp_path / "words.csv").read_text("utf-8").startswith("under,place,word,part,Leave-one")
