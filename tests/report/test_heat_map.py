"""The heat map: what is hatched can be seen to be."""

from __future__ import annotations

from emo_harness.report.figures.heat_map import CLASSES, STRIPES
from emo_harness.report.figures.palette import PALETTE


def test_hatches_are_seen_on_every_class_of_a_heat_map() -> None:
    """Else a gain that cannot be told from zero looks like one that can."""
    assert sorted(colour for classes in STRIPES.values() for colour in classes) == sorted(CLASSES)
    for stripe, classes in STRIPES.items():
        for colour in classes:
            assert contrast(PALETTE[colour].light, PALETTE[stripe].light) > 1.7, colour
            assert contrast(PALETTE[colour].dark, PALETTE[stripe].dark) > 1.4, colour


def contrast(one: str, other: str) -> float:
    """Contrast of two colours (WCAG 2.2), 1 to 21."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
