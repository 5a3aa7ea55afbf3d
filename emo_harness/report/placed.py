"""Placed: where the stimuli of a board stood, sentences and images alike."""

from __future__ import annotations

import json
from collections.abc import Sequence

from emo_harness.report.claims import FamilyClaim
from emo_harness.report.effect_row import EffectRow
from emo_harness.stimuli import VISUAL


def placed(items: Sequence[FamilyClaim | EffectRow]) -> str:
    """`suffix`, or `image first`, or both where images and sentences were asked.

    Args:
        items: claims or rows of one placement.
    """
    placement = items[0].placement
    parts = {part for item in items for part in item.family.split("+")} - {"placebo"}
    shown = {part for part in parts or {items[0].asked} if part.startswith(VISUAL)}
    settings = dict.fromkeys(item.settings for item in items) if shown else ()
    orders = dict.fromkeys(json.loads(one).get("image_order", "") for one in settings)
    if not any(orders):
        return placement
    told = f"image {' or '.join(order for order in orders if order)}"
    return f"{told}, sentence {placement}" if parts - shown else told


def placement_title(items: Sequence[FamilyClaim | EffectRow]) -> str:
    """`placed` as a heading has it."""
    told = placed(items)
    return f"placement {told}" if told == items[0].placement else told
