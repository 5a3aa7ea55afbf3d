"""Long names of models: short on the page, told in full once, never mistaken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emo_harness.report.figures.canvas import fitted, fitted_apart
from emo_harness.report.names import short_names
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents


def test_long_names_are_told_in_full_once(tmp_path: Path) -> None:
    made = contents(models=2, subtasks=2, stimuli=3, flips=6, ablations=True)
    full = {
        c.label: f"org/{c.label}-" + "x" * 5000 + f"[seed={i}]" for i, c in enumerate(made.claims)
    }

    def named(item: Any) -> Any:
        return replace(item, label=full[item.label])

    made = replace(
        made,
        claims=tuple(map(named, made.claims)),
        rows=tuple(map(named, made.rows)),
        flips=tuple(map(named, made.flips)),
        leaderboard=tuple(replace(r, claim=named(r.claim)) for r in made.leaderboard),
        ablations=tuple(replace(a, series=full[a.series]) for a in made.ablations),
    )
    markup, numbers = written(made, tmp_path)
    page = ParsedPage(markup)
    shown = dict(page.tables["origin-names"][1:])
    assert sorted(shown.values()) == sorted(full.values())
    assert all(len(short) <= 60 for short in shown)
    for name in full.values():
        assert page.text.count(name) == 1
    assert {row[0] for row in page.tables["leaderboard-table"][1:]} == set(shown)
    titles = {own["title"] for own in page.all("th") if len(own.get("title", "")) > 1000}
    assert titles == set(full.values())
    assert max(len(own.get("id", "")) for _, own in page.tags) < 200
    assert len(markup) < 1_500_000
    board = next(s for s in numbers["sections"] if s["id"] == "leaderboard")["blocks"][0]
    assert {row[0] for row in board["rows"]} == set(full.values())


@given(st.lists(st.text(max_size=90), max_size=8), st.integers(12, 60))
def test_short_names_are_short_and_different(names: list[str], most: int) -> None:
    made = short_names(names, most)
    shown = [made.get(name, name) for name in dict.fromkeys(names)]
    assert len(set(shown)) == len(shown)
    assert all(len(name) <= most + 6 for name in shown)


def test_names_that_differ_in_the_middle_stay_apart_in_a_figure() -> None:
    names = [f"org/a-very-long-name-of-a-model-v{i}-preview-of-some-year" for i in range(4)]
    shown = fitted_apart([*names, "short"], 150)
    assert len(set(shown)) == 5 and shown[-1] == "short"
    assert max(map(len, shown)) <= max(len(fitted("x" * 99, 150)), 5)
    assert fitted_apart(names, 1000) == names
