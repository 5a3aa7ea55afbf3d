"""What the images of a family did, in words that say no more than the intervals do."""

from __future__ import annotations

import math

from emo_harness.effects import Gain, mde_pp
from emo_harness.report import verdict_words
from emo_harness.report.boards import MODES
from emo_harness.report.numerals import counted, gain, percent, pp
from emo_harness.report.visual.effects import CONTROLS, Contrast, VisualEffects

# Where so many answers could not be read, the score tells little of what was answered.
LARGE_UNPARSED_PCT = 20
# What an image is held against that shows the same scene, or nothing, without emotion.
TELLING = ("neutral", "pixel-scrambled")
CONTROL_NAMES = {
    "neutral": "their neutral twins",
    "pixel-scrambled": "their pixel-scrambled copies",
    "phase-scrambled": "their phase-scrambled copies",
    "grey": "plain grey",
    "no-image": "no image",
}


def panel_sentence(one: VisualEffects, decimals: int) -> str:
    """What the images of a family did, and whether it is more than that of any image."""
    whole = one.rows[0]
    shown = counted(len(whole.arms), "image")
    of_set = f"of the set {' and '.join(one.sets)}"
    beside = " with a sentence" if one.combined else ""
    told = [
        f"{one.label}, {asked(one)}, {one.family}: {shown} {of_set}{beside} changed the score by "
        f"{told_gain(whole.gain, decimals)} over control ({one.control})."
    ]
    if one.combined:
        told.append("What the sentence does and what the image does is below.")
    told += _compared(one, decimals)
    if not math.isnan(one.high_over_low.mean_pp):
        high_low = told_gain(one.high_over_low, decimals)
        told.append(f"Images of high arousal minus those of low: {high_low}.")
    if max(one.unparsed_pct, one.unparsed_control_pct) >= LARGE_UNPARSED_PCT:
        told.append(
            f"{percent(one.unparsed_pct, 0)}% of the answers beside images "
            f"({percent(one.unparsed_control_pct, 0)}% under control) could not be read and count "
            "as wrong, so that much of what images do may not show."
        )
    return " ".join([*told, _meaning(one, decimals)]).strip()


def asked(one: VisualEffects) -> str:
    return f"{one.board.benchmark}, {MODES.get(one.board.mode, one.board.mode)}"


def told_gain(found: Gain, decimals: int) -> str:
    return f"{gain(found.mean_pp, found.low_pp, found.high_pp, decimals)} pp"


def is_known(found: Contrast) -> bool:
    return not math.isnan(found.gain.mean_pp)


def _compared(one: VisualEffects, decimals: int) -> list[str]:
    """What is left over control images, those together that the same number of images have."""
    whole = one.rows[0]
    n = len(whole.arms)
    by_number: dict[int, list[str]] = {}
    for kind in CONTROLS:
        found = whole.against[kind]
        if is_known(found) and not (kind == "grey" and one.control == "grey image"):
            over = f"{told_gain(found.gain, decimals)} over {CONTROL_NAMES[kind]}"
            by_number.setdefault(found.n_images, []).append(over)
    return [
        f"Held against controls of {f'{k} of the {n}' if k < n else 'all'} images: "
        f"{', '.join(listed)}."
        for k, listed in by_number.items()
    ]


def _meaning(one: VisualEffects, decimals: int) -> str:
    """Whether emotion can be told from the mere presence of an image."""
    whole = one.rows[0]
    found = {kind: whole.against[kind].gain for kind in TELLING if is_known(whole.against[kind])}
    if math.isnan(whole.gain.low_pp) or any(math.isnan(g.low_pp) for g in found.values()):
        return f"Whether that is chance cannot be said from {counted(whole.gain.n, 'question')}."
    if one.combined:
        return ""
    if not found:
        return (
            "No image had a neutral twin or a scrambled copy beside it, so emotion cannot be told "
            "from what any image does."
        )
    clear = {kind: g for kind, g in found.items() if _is_clear(g)}
    if len(clear) == len(found):
        return _clear(whole.gain, list(found.values()))
    if clear:
        against = " and ".join(CONTROL_NAMES[kind] for kind in clear)
        open_ones = {kind: g for kind, g in found.items() if kind not in clear}
        other = " and ".join(CONTROL_NAMES[kind] for kind in open_ones)
        return (
            f"They differ from {against}; from {other} that is {_open(open_ones, one, decimals)} "
            "Emotion is not told from the mere presence of an image by one of the two."
        )
    names = " and ".join(CONTROL_NAMES[kind] for kind in found)
    return f"Whether they do more than {names} is {_open(found, one, decimals)}"


def _clear(over_control: Gain, contrasts: list[Gain]) -> str:
    """Every contrast leaves zero out."""
    if len({g.mean_pp > 0 for g in contrasts}) > 1:
        return (
            "They are above one kind of control and below the other, so what the emotion does "
            "cannot be said."
        )
    up = contrasts[0].mean_pp > 0
    if _is_clear(over_control) and (over_control.mean_pp > 0) == up:
        word = "raise" if up else "lower"
        return f"They {word} the score by more than the mere presence of an image does."
    word = "raises" if up else "lowers"
    if _is_clear(over_control):
        return (
            f"What they show {word} the score, and the mere presence of an image does the reverse "
            "and more, so that over control they are on the other side."
        )
    return (
        f"What they show {word} the score against images without emotion, but over control "
        "nothing is decided."
    )


def _open(found: dict[str, Gain], one: VisualEffects, decimals: int) -> str:
    """What may be said of contrasts that do not leave zero out."""
    margin = one.margin_pp
    if all(-margin < g.low_pp and g.high_pp < margin for g in found.values()):
        return f"decided: no difference larger than the margin of {margin:g} pp."
    missed = pp(max(mde_pp(g) for g in found.values()), decimals).lstrip("+")
    return f"undecided: a difference of up to {missed} pp could have been missed."


def _is_clear(found: Gain) -> bool:
    return verdict_words.bounds_tone(found.low_pp, found.high_pp) != "quiet"
