"""Gain against traits of the stimuli: one panel per trait, one marker per model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.key import fit_markers, key_height, series_key
from emo_harness.report.figures.palette import ink, series

PANEL_PX = (270, 220)
LEFT_PX, GAP_PX, FOOT_PX, TOP_PX = 58, 26, 46, 8
# Room for the names of the series.
LEAST_PX = 560
JITTER = 0.28
# Marks of different models at one value are set side by side, this share of the axis apart.
SIDE_BY_SIDE = 0.012


@dataclass(frozen=True)
class Trait:
    """One panel.

    Attributes:
        axis: what is on the horizontal axis, with its unit.
        values: (n_series, n_stimuli), NaN unknown; numbers of `names` where those are given.
        names: of the values, where the trait is a kind and no amount.
    """

    axis: str
    values: NDArray[np.float64]
    names: tuple[str, ...] = ()


@canvas.own_style()
def trait_panels(
    traits: Sequence[Trait],
    gains_pp: NDArray[np.float64],
    bounds_pp: NDArray[np.float64] | None,
    labels: Sequence[str],
    name: str,
    title: str,
    alt: str,
) -> Drawing:
    """Draw the panels side by side on one scale of gains.

    Args:
        gains_pp: (n_series, n_stimuli).
        bounds_pp: (n_series, n_stimuli, 2) intervals, or None to leave them out.
    """
    width = max(LEFT_PX + len(traits) * (PANEL_PX[0] + GAP_PX), LEAST_PX)
    top = key_height(labels, width) + TOP_PX
    figure = canvas.canvas(width, top + PANEL_PX[1] + FOOT_PX)
    series_key(figure, labels)
    shown = gains_pp if bounds_pp is None else np.append(gains_pp, bounds_pp)
    shown = shown[np.isfinite(shown)]
    low, high = float(shown.min(initial=0)), float(shown.max(initial=0))
    pad = 0.06 * (high - low or 1)
    for number, trait in enumerate(traits):
        left = LEFT_PX + number * (PANEL_PX[0] + GAP_PX)
        plot = canvas.axes(figure, left, top, *PANEL_PX)
        plot.spines["top"].set_visible(False)
        plot.spines["right"].set_visible(False)
        plot.axhline(0, color=ink("quiet"), linewidth=1, zorder=1)
        plot.set_ylim(low - pad, high + pad)
        plot.yaxis.grid(True, color=ink("band"), linewidth=0.8)
        plot.set_axisbelow(True)
        plot.set_xlabel(trait.axis, color=ink("quiet"), fontsize=canvas.SMALL_PX)
        if number == 0:
            plot.set_ylabel("gain, pp", color=ink("quiet"), fontsize=canvas.SMALL_PX)
        else:
            plot.tick_params(labelleft=False)
        if trait.names:
            plot.set_xticks(range(len(trait.names)), trait.names)
            plot.set_xlim(-0.6, len(trait.names) - 0.4)
        else:
            plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        known = trait.values[np.isfinite(trait.values)]
        spread = float(np.ptp(known)) if known.size else 0.0
        spread = spread or 1.0
        for s in range(len(labels)):
            x = trait.values[s].astype(float)
            if trait.names:
                # Points of one kind side by side, always in the same order.
                x = x + np.linspace(-JITTER, JITTER, x.size)
            x = x + (s - (len(labels) - 1) / 2) * SIDE_BY_SIDE * spread
            if bounds_pp is not None:
                plot.vlines(
                    x, bounds_pp[s, :, 0], bounds_pp[s, :, 1], colors=series(s)[0], linewidth=1
                )
            plot.plot(x, gains_pp[s], **fit_markers(s, 6))
    return canvas.drawing(figure, name, title, alt)
