"""The palette: every colour of page and figures, by name, in light and dark.

Blue and orange tell direction (Okabe and Ito 2008), a pair that red-green blindness leaves apart;
shape, sign or hatching always tells it too. Violet tells size where there is no direction; `deep`
is text on a class of middle lightness, in light and dark alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """One colour. Figures are drawn in `light`, so its values are all different."""

    light: str
    dark: str


PALETTE = {
    "paper": Colour("#ffffff", "#14181e"),
    "ink": Colour("#1d2229", "#e5e9ef"),
    "quiet": Colour("#59626e", "#a0aab7"),
    "line": Colour("#d3d8df", "#3a434f"),
    "band": Colour("#eceff3", "#232b35"),
    "hatch": Colour("#9aa3ae", "#6b7684"),
    "mark": Colour("#ffe9a8", "#5c4a12"),
    "alarm": Colour("#b3261e", "#ff8a80"),
    "alarm-paper": Colour("#fdecea", "#3b1a1a"),
    "stripe": Colour("#a3acb7", "#05070a"),
    "up": Colour("#0067a8", "#5bb4ee"),
    "down": Colour("#b84a00", "#ff9d57"),
    "down4": Colour("#a03a00", "#ffa866"),
    "down3": Colour("#d76a2c", "#cf6f30"),
    "down2": Colour("#f0a676", "#8d4c24"),
    "down1": Colour("#fadcc7", "#50311f"),
    "none": Colour("#f5f5f4", "#252b33"),
    "up1": Colour("#cfe2f3", "#1d384f"),
    "up2": Colour("#8ec0e4", "#275d88"),
    "up3": Colour("#3f91ca", "#3a8cc4"),
    "up4": Colour("#0a5a93", "#8accf5"),
    "size1": Colour("#e6e0ee", "#2e2740"),
    "size2": Colour("#c9b8dd", "#4b3c70"),
    "size3": Colour("#a286cc", "#8f78c8"),
    "size4": Colour("#5f3f92", "#c6b3f2"),
    "deep": Colour("#171c22", "#14181e"),
    "series1": Colour("#0072b2", "#56b4e9"),
    "series2": Colour("#d55e00", "#ff9a52"),
    "series3": Colour("#00835f", "#2cc99b"),
    "series4": Colour("#a3478a", "#e69bc9"),
    "series5": Colour("#8a6d00", "#efc84a"),
    "series6": Colour("#4b4f9e", "#a5a9f5"),
}
_NAME_OF = {colour.light: name for name, colour in PALETTE.items()}
_SERIES = [name for name in PALETTE if name.startswith("series")]
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_HEX = re.compile(r"#[0-9a-f]{6}\b")


def ink(name: str) -> str:
    """The colour a figure is drawn in."""
    return PALETTE[name].light


def series(number: int) -> tuple[str, str]:
    """Colour and marker of the number-th series: all pairs differ for the first 24."""
    return ink(_SERIES[number % len(_SERIES)]), _MARKERS[number % len(_MARKERS)]


def with_variables(markup: str) -> str:
    """The markup with the page's CSS variables for the colours it was drawn in."""
    return _HEX.sub(
        lambda m: f"var(--{_NAME_OF[m[0]]})" if m[0] in _NAME_OF else m[0],
        markup,
    )


def variables(dress: str) -> str:
    """CSS declarations of all colours; `dress` is `light` or `dark`."""
    return "".join(f"--{name}:{getattr(colour, dress)};" for name, colour in PALETTE.items())
