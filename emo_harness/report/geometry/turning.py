"""What people can turn: principal components in three dimensions, one file that needs no network.

It holds plotly's own script, megabytes of it, and so is no part of the page.
"""

from __future__ import annotations

import html
import json
from typing import Any

from emo_harness.report.figures.canvas import fitted
from emo_harness.report.figures.kinds import Kind
from emo_harness.report.figures.palette import PALETTE, ink
from emo_harness.report.geometry.numbers import GeometryNumbers, SpaceView
from emo_harness.report.geometry.space_blocks import HEADINGS
from emo_harness.report.geometry.words import kind_of, known, told, used_kinds
from emo_harness.report.plain_text import visible

NAMED, MOST_LABELS = 400, 50
# plotly.js compiles its shaders' code, and draws what is saved from blobs.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)
SYMBOLS = {"o": "circle", "^": "diamond", "v": "square", "s": "circle-open"}
DRESSES = """
const COLOURS = PAIRS;
const dark = matchMedia("(prefers-color-scheme: dark)");
const plot = document.querySelector(".plotly-graph-div");
function dress() {
  const ink = dark.matches ? "INK_DARK" : "INK_LIGHT";
  const line = dark.matches ? "LINE_DARK" : "LINE_LIGHT";
  const axis = {color: ink, gridcolor: line, zerolinecolor: line};
  const change = {"font.color": ink, "legend.font.color": ink};
  for (const name of ["xaxis", "yaxis", "zaxis"])
    for (const key in axis) change["scene." + name + "." + key] = axis[key];
  Plotly.relayout(plot, change);
  const own = plot.data.map(trace => COLOURS[trace.meta][dark.matches ? 1 : 0]);
  Plotly.restyle(plot, {"textfont.color": ink, "marker.color": own});
}
dark.addEventListener("change", dress);
dress();
"""


def turning_page(numbers: GeometryNumbers) -> str:
    """A page with every view's first three components; a menu chooses the view."""
    import plotly.graph_objects as go

    views = [view for view in numbers.views if len(view.explained) >= 3]
    figure = go.Figure()
    owner: list[int] = []
    for number, view in enumerate(views):
        for trace in _traces(view, is_shown=number == 0):
            figure.add_trace(trace)
            owner.append(number)
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        margin={"l": 0, "r": 0, "t": 50, "b": 0},
        legend={"itemsizing": "constant", "y": 0.9},
        scene=_scene(views[0]) if views else {},
        updatemenus=[
            {
                "buttons": [
                    {
                        "label": _safe(
                            fitted(HEADINGS.get(view.view, f"template: {view.title}"), 460)
                        ),
                        "method": "update",
                        "args": [
                            {"visible": [number == own for own in owner]},
                            {
                                f"scene.{axis}.title.text": title["title"]["text"]
                                for axis, title in _scene(view).items()
                                if axis.endswith("axis")
                            },
                        ],
                    }
                    for number, view in enumerate(views)
                ],
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
            }
        ]
        if views
        else [],
    )
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        config={"displaylogo": False, "responsive": True},
        div_id="space",
        default_height="calc(100vh - 5.5rem)",
    )
    title = f"{numbers.store.site} space of {numbers.store.model}"
    return _frame(html.escape(visible(title)), drawn)


def _traces(view: SpaceView, *, is_shown: bool) -> list[Any]:
    import plotly.graph_objects as go

    points = view.points
    unknown: list[int | None] = [None] * len(points.word)
    valence, arousal = (points.target.get(d, unknown) for d in ("valence", "arousal"))
    kinds, kind = used_kinds([kind_of(*both) for both in zip(valence, arousal, strict=True)])
    is_named = len(points.word) <= NAMED
    labelled = _farthest(view) if is_named else frozenset()
    made = []
    for number, one in enumerate(kinds):
        own = [i for i, k in enumerate(kind) if k == number]
        x, y, z = ([known(points.place[i][c]) for i in own] for c in range(3))
        made.append(
            go.Scatter3d(
                x=x,
                y=y,
                z=z,
                mode="markers+text" if is_named else "markers",
                text=[_safe(points.word[i]) if i in labelled else "" for i in own],
                hovertext=[_safe(_hover(view, i)) for i in own],
                hoverinfo="text",
                textfont={"size": 10},
                textposition="top center",
                name=_safe(one.label),
                meta=one.colour,
                marker=_marker(one, is_named),
                visible=is_shown,
            )
        )
    return made


def _farthest(view: SpaceView) -> frozenset[int]:
    """The points that are labelled: all where they are few, else those far out."""
    away = [-sum(known(v) ** 2 for v in place) for place in view.points.place]
    order = sorted(range(len(away)), key=away.__getitem__)
    return frozenset(order[:MOST_LABELS])


def _hover(view: SpaceView, i: int) -> str:
    points = view.points
    template = "" if points.template[i] is None else f", template {points.template[i]}"
    return f"{points.word[i]}{template}{', negated' if points.negation[i] else ''}"


def _marker(kind: Kind, is_named: bool) -> dict[str, Any]:
    return {
        "size": 4.5 if is_named else 2.5,
        "color": ink(kind.colour),
        "symbol": SYMBOLS.get(kind.marker, "circle"),
        "opacity": 0.9,
    }


def _scene(view: SpaceView) -> dict[str, Any]:
    return {
        f"{axis}axis": {
            "title": {"text": f"PC{i + 1}, {told(100 * known(view.explained[i]), 0)}%"},
            "showbackground": False,
        }
        for i, axis in enumerate("xyz")
    } | {"aspectmode": "data"}


def _safe(text: str) -> str:
    """Text as plotly shows it: it takes some tags for markup, and entities for characters."""
    return html.escape(visible(text), quote=False)


def _frame(title: str, drawn: str) -> str:
    dresses = DRESSES
    for name in ("ink", "line"):
        for dress in ("light", "dark"):
            colour = getattr(PALETTE[name], dress)
            dresses = dresses.replace(f"{name}_{dress}".upper(), colour)
    pairs = {name: [colour.light, colour.dark] for name, colour in PALETTE.items()}
    dresses = dresses.replace("PAIRS", json.dumps(pairs))
    paper, letters = PALETTE["paper"], PALETTE["ink"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" '
        f'content="no-referrer"><title>{title}</title><link rel="icon" href="data:,"><style>'
        "body{margin:0;padding:.6rem 1rem;font:15px system-ui,sans-serif;"
        f"background:{paper.light};color:{letters.light}}}h1{{font-size:1.1rem;margin:0}}"
        "p{margin:.2rem 0;font-size:.9rem}@media(prefers-color-scheme:dark){"
        f"body{{background:{paper.dark};color:{letters.dark}}}}}</style></head><body>"
        f"<h1>{title}</h1><p>Drag to turn, scroll to come nearer, point at a mark for its word. "
        "Colour: valence; shape: arousal. The menu chooses what is shown.</p>"
        f"{drawn}<script>{dresses}</script></body></html>\n"
    )
