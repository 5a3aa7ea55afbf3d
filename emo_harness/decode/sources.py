"""Sources: the stimuli that are averaged together, and the placebos that they are set against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from emo_harness.errors import UserError, quoted
from emo_harness.stimuli import Stimulus, load_set, select, shipped_stimuli

EP06 = ("ep06", "ep06-joined")


def chosen_sources(sets: Sequence[str]) -> dict[str, tuple[Stimulus, ...]]:
    """The emotional stimuli of what a user named, by family; of meta prompts, by their source.

    Raises:
        UserError: nothing was named, no emotional stimulus, or what `stimuli.select` refuses.
    """
    if not sets:
        raise UserError(
            "choosing what to decode",
            found="no stimulus set",
            expected="sets, files or ids",
            fix="name some, e.g. emo decode prompt attack --model MODEL --out DIR",
        )
    chosen = select(list(sets))
    sources: dict[str, tuple[Stimulus, ...]] = {}
    for one in chosen:
        if one.placebo is None:
            sources[one.lineage] = (*sources.get(one.lineage, ()), one)
    if not sources:
        raise UserError(
            "choosing what to decode",
            found=f"placebos alone ({quoted(one.id for one in chosen)})",
            expected="emotional stimuli",
            fix="name a family: the neutral placebos are decoded beside it",
        )
    return sources


def left_out_placebos(sets: Sequence[str]) -> tuple[str, ...]:
    """Ids of the placebos among what a user named."""
    return tuple(one.id for one in select(list(sets)) if one.placebo is not None)


def chosen_placebos(names: Sequence[str]) -> tuple[Stimulus, ...]:
    """The neutral placebos of what a user named; the shipped ones by default.

    Raises:
        UserError: none of them is neutral, or what `stimuli.select` refuses.
    """
    chosen = select(list(names)) if names else load_set("placebo").default_stimuli
    neutral = tuple(one for one in chosen if one.placebo == "neutral")
    if not neutral:
        raise UserError(
            "choosing placebos",
            found=quoted(f"{one.id} ({one.placebo or one.family})" for one in chosen),
            expected="neutral placebos, which have neither affect nor demand",
            fix="name neutral ones, e.g. neutral-12, or a set of family placebo",
        )
    return neutral


def require_one_reading(sources: Mapping[str, Iterable[Stimulus]]) -> None:
    """Raise unless every source has at most one reading of EP06.

    It is published in two wordings; averaged together, the same stimulus would count twice.

    Raises:
        UserError: a source has both.
    """
    known = shipped_stimuli()
    texts = {known[name].text: name for name in EP06}
    for source, members in sources.items():
        found: dict[str, str] = {}
        for one in members:
            name = one.id if one.id in EP06 else texts.get(one.text)
            if name is not None:
                found.setdefault(name, one.id)
        if len(found) > 1:
            ids = list(found.values())
            raise UserError(
                f"averaging the stimuli of {source}",
                found=f"two readings of EP06, {quoted(ids)}",
                expected="one of them: together the same stimulus would count twice",
                fix=f"name the stimuli without {ids[1]}, or decode single stimuli: --vector each",
            )
