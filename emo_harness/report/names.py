"""Names of models as they are shown: a name may be as long as a path and all its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from emo_harness.report.contents import ReportContents

NAME_CHARS = 60


def long_names(contents: ReportContents) -> dict[str, str]:
    """Every name that is too long to be shown, and what is shown for it, the longest first."""
    made = short_names(
        [
            *(name for claim in contents.claims for name in (claim.label, claim.model)),
            *(name for row in contents.rows for name in (row.label, row.model)),
            *(flip.label for flip in contents.flips),
            *(row.series for row in contents.ablations),
            *(fact.model for fact in contents.facts),
        ]
    )
    return dict(sorted(made.items(), key=lambda item: -len(item[0])))


def short_names(names: Iterable[str], most: int = NAME_CHARS) -> dict[str, str]:
    """Names of more than `most` characters, each with a short form that no other name has.

    Both ends stay, as the end tells settings apart.

    >>> short_names(["m", "org/a-long-name-of-a-model [temperature=0.5]"], 32)
    {'org/a-long-name-of-a-model [temperature=0.5]': 'org/a-long-nam…temperature=0.5]'}
    """
    known = list(dict.fromkeys(names))
    taken = {name for name in known if len(name) <= most}
    made: dict[str, str] = {}
    for name in known:
        if len(name) <= most:
            continue
        start, end = name[: most // 2 - 2], name[-(most // 2) :]
        short, number = f"{start}…{end}", 2
        while short in taken:
            short, number = f"{start}…({number})…{end}", number + 1
        taken.add(short)
        made[name] = short
    return made


def shortener(names: dict[str, str], change: Callable[[str], str] = str) -> Callable[[str], str]:
    """Puts the short forms into a text.

    Args:
        names: see `long_names`.
        change: what was done to the text, and so to the names within it, before.
    """
    changed = [(change(name), change(short)) for name, short in names.items()]

    def shortened(text: str) -> str:
        for name, short in changed:
            if len(text) >= len(name):
                text = text.replace(name, short)
        return text

    return shortened
