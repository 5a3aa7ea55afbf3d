"""Tables at a narrow terminal: what matters stays whole, what matters least goes, and is named."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from rich.console import Console

from emo_harness.cli.tables import print_table

COLUMNS = ("concept", "theory", "accuracy", "made", "pixels")
ROWS = [
    (
        (f"attractive-{who}", "Maslow's hierarchy", "100% [51,\u00a0100]", "drawn", "336 x 336"),
        False,
    )
    for who in ("woman", "man")
]


def printed(width: int, least: tuple[str, ...] = ("theory", "made", "pixels")) -> str:
    where = Console(file=io.StringIO(), width=width)
    print_table(where, "title", COLUMNS, ROWS, ["a note"], n_left=2, least=least)
    return where.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", range(40, 140, 7))
def test_names_and_intervals_are_whole_at_every_width_that_holds_them(width: int) -> None:
    told = printed(width)
    assert "attractive-woman" in told and "attractive-man " in told
    assert told.count("100% [51,\u00a0100]") == 2
    assert max(map(len, told.splitlines())) <= width


@pytest.mark.parametrize("width", range(40, 140, 7))
def test_what_is_left_out_is_named_and_nothing_else_is(width: int) -> None:
    told = printed(width)
    heading = next(line for line in told.splitlines() if "concept" in line)
    note = next((line for line in told.splitlines() if "no room here for" in line), "")
    for name in ("theory", "made", "pixels"):
        assert (name in heading) != (name in note), (width, name)


def test_columns_go_in_the_order_given_and_no_sooner_than_needed() -> None:
    gone = [
        {name for name in ("theory", "made", "pixels") if name in told.split("no room here for")[1]}
        if "no room" in (told := printed(width))
        else set()
        for width in range(130, 40, -1)
    ]
    assert all(before <= after for before, after in pairwise(gone))
    assert gone[0] == set() and {"theory"} in gone and {"theory", "made", "pixels"} in gone


def test_without_columns_to_spare_all_are_there() -> None:
    told = printed(60, least=())
    assert "no room" not in told and "pixels" in told
