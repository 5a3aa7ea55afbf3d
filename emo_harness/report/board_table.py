"""The leaderboard as a table: markdown, CSV and LaTeX show the same cells."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import fields

from emo_harness.report.claims import ChosenStimulus, FamilyClaim
from emo_harness.report.leaderboard import LeaderboardRow
from emo_harness.report.placed import placed

COLUMNS = (
    "board",
    "place",
    "tied",
    "model",
    "revision",
    "n",
    "control %",
    "gain pp",
    "stimuli like these pp",
    "against placebo pp",
    "worst stimulus",
    "best stimulus",
    "verdict",
)
NOTE = (
    "Gain: family mean minus control, paired by question, percentage points with 95% interval. "
    "Place: the places a model's gain may take; models that share a letter are statistically tied "
    "(paired differences, Holm). Worst and best stimulus: chosen on one half of the questions, "
    "estimated on the other. Verdicts are Holm-corrected over the report's claims."
)


_PLACE_FIELDS = ("rank_low", "rank_high", "tied", "n_models")
_CHOSEN = ("best", "worst")
BOARD_FIELDS = [
    *_PLACE_FIELDS,
    *(field.name for field in fields(FamilyClaim) if field.name not in _CHOSEN),
    *(f"{name}_{field.name}" for name in _CHOSEN for field in fields(ChosenStimulus)),
]


def board_cells(row: LeaderboardRow) -> list[str]:
    """A row's cells, in the order of `COLUMNS`."""
    claim = row.claim
    asked = "" if claim.asked == claim.family else f", asked as {claim.asked}"
    return [
        f"{claim.benchmark} {claim.mode} {placed([claim])}: {claim.family}{asked}",
        _place(row),
        row.tied,
        claim.label,
        claim.revision[:12] or "-",
        f"{claim.n_questions}" + ("*" if claim.limited else ""),
        interval(claim.control_pct, claim.control_low_pct, claim.control_high_pct, signed=False),
        interval(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp),
        "-"
        if claim.is_over_layers
        else interval(claim.gain_pp, claim.like_low_pp, claim.like_high_pp),
        interval(claim.placebo_gain_pp, claim.placebo_low_pp, claim.placebo_high_pp),
        _chosen(claim.worst),
        _chosen(claim.best),
        claim.verdict,
    ]


def board_markdown(rows: Sequence[LeaderboardRow]) -> str:
    """Every board as one markdown table."""
    lines = ["# Leaderboard", "", NOTE, ""]
    if any(row.claim.limited for row in rows):
        lines += ["\\* a part of the questions was asked: not for reporting.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(map(_in_markdown, board_cells(row))) + " |" for row in rows]
    return "\n".join([*lines, ""])


def board_records(rows: Sequence[LeaderboardRow]) -> list[dict[str, object]]:
    """Every number of the boards, one record a model and board."""
    return [_flat(row) for row in rows]


def board_latex(rows: Sequence[LeaderboardRow]) -> str:
    """Every board as one LaTeX table; needs the package booktabs."""
    columns = ("model", "n", "control %", "gain pp", "stimuli like these pp", "verdict")
    wanted = [COLUMNS.index(name) for name in columns]
    lines = [
        f"% {NOTE}",
        r"\begin{tabular}{lrrrrl}",
        r"\toprule",
        " & ".join(_in_latex(name) for name in columns) + r" \\",
    ]
    board = ""
    for row in rows:
        cells = board_cells(row)
        if cells[0] != board:
            board = cells[0]
            lines += [
                r"\midrule",
                rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{_in_latex(board)}}}}} \\",
            ]
        lines.append(" & ".join(_in_latex(cells[i]) for i in wanted) + r" \\")
    if any(row.claim.limited for row in rows):
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(columns)}}}{{l}}"
            r"{*\,a part of the questions was asked: not for reporting} \\",
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def interval(value: float, low: float, high: float, signed: bool = True) -> str:
    """`+1.2 [-0.3, +2.7]`; `-` where unknown."""
    sign = "+" if signed else ""
    if math.isnan(value):
        return "-"
    value, low, high = (round(x, 1) + 0.0 for x in (value, low, high))  # no "-0.0"
    if math.isnan(low):
        return f"{value:{sign}.1f} [unknown]"
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _place(row: LeaderboardRow) -> str:
    if row.rank_low is None or row.rank_high is None:
        return "-"
    places = f"{row.rank_low}-{row.rank_high}" if row.rank_high > row.rank_low else row.rank_low
    return f"{places} of {row.n_models}"


def _chosen(found: ChosenStimulus | None) -> str:
    if found is None:
        return "-"
    names = "/".join(dict.fromkeys(found.chosen))
    return f"{names} {interval(found.gain_pp, found.low_pp, found.high_pp)}"


def _flat(row: LeaderboardRow) -> dict[str, object]:
    numbers = {name: value for name, value in vars(row.claim).items() if name not in _CHOSEN}
    chosen = {
        f"{name}_{key}": "/".join(value) if isinstance(value, tuple) else value
        for name in _CHOSEN
        for key, value in (
            vars(getattr(row.claim, name)) if getattr(row.claim, name) else {}
        ).items()
    }
    places = {name: getattr(row, name) for name in _PLACE_FIELDS}
    return places | numbers | chosen


def _in_markdown(text: str) -> str:
    escaped = "".join(f"\\{c}" if c in "\\|`*_" else c for c in text)
    return " ".join(escaped.replace("<", "&lt;").replace(">", "&gt;").split())


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


# A hyphen before a number that nothing joins to a word is a minus.
_LATEX_MINUS = re.compile(r"(?<!\w)-(?=\d)")


def _in_latex(text: str) -> str:
    printable = "".join(_LATEX.get(c, c if c.isprintable() else " ") for c in text)
    return _LATEX_MINUS.sub("$-$", printable)
