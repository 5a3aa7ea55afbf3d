"""Which columns of a table of ratings tell what: as the user names them, the others guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emo_harness.errors import UserError, nearest, quoted

if TYPE_CHECKING:
    from emo_harness.images.norms import Table

DIMENSIONS = {
    "valence": ("valence", "val", "pleasantness", "pleasure", "v"),
    "arousal": ("arousal", "aro", "ar", "a"),
}
STATISTICS = {
    "mean": ("mean", "mn", "avg", "average", "m"),
    "sd": ("sd", "std", "stdev", "s"),
    "n": ("n", "count", "raters"),
}
CONCEPTS = (
    "concept", "category", "theme", "label", "keywords", "keyword", "tags", "desc", "description",
    "content",
)  # fmt: skip
# So many of a column's cells must name images before it is taken for the one that does.
NAMING_SHARE = 0.5


@dataclass(frozen=True)
class Columns:
    """Which column tells what; None where there is none.

    Attributes:
        guessed: those of these that were not named, by what they tell.
    """

    file: str
    valence: str | None
    arousal: str | None
    valence_sd: str | None = None
    arousal_sd: str | None = None
    n: tuple[str, ...] = ()
    concept: str | None = None
    guessed: Mapping[str, str] = field(default_factory=dict)


def columns_of(
    table: Table,
    names_image: Callable[[str], object],
    *,
    file: str | None = None,
    valence: str | None = None,
    arousal: str | None = None,
    valence_sd: str | None = None,
    arousal_sd: str | None = None,
    n: str | None = None,
    concept: str | None = None,
    raters: str | None = None,
) -> Columns:
    """Which column tells what: as named, the others guessed.

    The file's column is the one whose cells name images; columns of ratings are known by their
    headings (`Valence_mean`, `valmn`, `aro_sd_us`). Where ratings come of several groups of raters,
    those of the named column's group are taken.

    Args:
        names_image: whether a cell names an image.
        raters: the group, as it stands in the headings: "us" for `val_mean_us`.

    Raises:
        UserError: a named column is not there, none or several could be meant, or there are
            neither valence nor arousal.
    """
    doing = f"choosing the columns of {table.path.name}"
    named = {
        "file": file, "valence": valence, "arousal": arousal, "valence_sd": valence_sd,
        "arousal_sd": arousal_sd, "n": n, "concept": concept,
    }  # fmt: skip
    for role, name in named.items():
        if name is not None and name not in table.header:
            raise UserError(
                doing,
                found=f"no column {name!r}{nearest(name, table.header)}",
                expected=f"one of {quoted(table.header, 60)}",
                fix=f"correct --{role.replace('_', '-')}-column",
            )
    headings = _Headings(table.header, doing)
    group = raters.lower() if raters else None
    if group is None:
        group = next((headings.group(c) for c in (valence, arousal) if c), None)
    elif group not in headings.groups:
        groups = sorted(filter(None, headings.groups))
        raise UserError(
            doing,
            found=f"no ratings of the group {raters!r}{nearest(group, groups)}",
            expected=f"one of {quoted(groups, 20)}"
            if groups
            else "headings that name groups of raters, as val_mean_us; here none does",
            fix="correct --raters" if groups else "leave --raters out",
        )
    found: dict[str, str | None] = dict(named)
    found["file"] = file or _naming_column(table, names_image, doing)
    for dimension in DIMENSIONS:
        found[dimension] = named[dimension] or headings.of(dimension, "mean", group)
        sd = f"{dimension}_sd"
        if found[dimension]:
            own = headings.group(str(found[dimension]))
            found[sd] = named[sd] or headings.of(dimension, "sd", own)
    if not found["valence"] and not found["arousal"]:
        raise UserError(
            doing,
            found=f"columns {quoted(table.header, 60)}",
            expected="mean ratings of valence or arousal",
            fix="name them with --valence-column and --arousal-column",
        )
    counts = (n,) if n else headings.counts([c for c in (found["valence"], found["arousal"]) if c])
    found["concept"] = concept or headings.concept(str(found["file"]))
    guessed = {role: str(name) for role, name in found.items() if name and not named[role]}
    if counts and not n:
        guessed["number of raters"] = " and ".join(counts)
    return Columns(
        str(found["file"]), found["valence"], found["arousal"], found["valence_sd"],
        found["arousal_sd"], counts, found["concept"], guessed,
    )  # fmt: skip


class _Headings:
    """Headings of a table, read as dimension, statistic and group of raters."""

    def __init__(self, header: Sequence[str], doing: str) -> None:
        self._doing = doing
        self._header = header
        self._parts = {name: _parts(name) for name in header}
        self.groups = {
            group for dimension, _, group in self._parts.values() if dimension is not None
        }

    def group(self, column: str) -> str:
        return self._parts[column][2]

    def of(self, dimension: str, statistic: str, group: str | None) -> str | None:
        """The column of a statistic; None where there is none."""
        fitting = [
            name
            for name, parts in self._parts.items()
            if parts[:2] == (dimension, statistic) and group in (None, parts[2])
        ]
        if len(fitting) > 1:
            plain = [name for name in fitting if self._parts[name][2] == ""]
            if group is None and len(plain) == 1:
                return plain[0]
            groups = sorted(filter(None, {self._parts[name][2] for name in fitting}))
            raise UserError(
                self._doing,
                found=f"several columns that could be the {statistic} of {dimension}: "
                f"{quoted(fitting)}",
                expected="one of them",
                fix=f"name it with --{dimension}-column"
                + (f", or all of a group with --raters {groups[0]}" if groups else ""),
            )
        return fitting[0] if fitting else None

    def counts(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Columns that count the raters of these columns."""
        found = []
        for column in columns:
            dimension, _, group = self._parts[column]
            own = self.of(dimension, "n", group) if dimension else None
            if own:
                found.append(own)
        plain = [name for name in self._header if name.lower() in STATISTICS["n"]]
        return tuple(dict.fromkeys(found or plain[:1]))

    def concept(self, file: str) -> str | None:
        lower = {name.lower(): name for name in self._header if name != file}
        return next((lower[name] for name in CONCEPTS if name in lower), None)


def _parts(heading: str) -> tuple[str | None, str | None, str]:
    """Dimension, statistic and group of raters of a heading.

    `Valence_mean` is ("valence", "mean", ""), `valmn` the same, `aro_sd_us` ("arousal", "sd",
    "us"); what is neither mean, deviation nor count has no dimension.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", _spaced(heading).lower()) if word]
    words = [part for word in words for part in _unglued(word)]
    dimension = _taken(words, DIMENSIONS)
    if dimension is None:
        return None, None, ""
    statistic = _taken(words, STATISTICS)
    if statistic is None and words:
        return None, None, ""
    return dimension, statistic or "mean", "_".join(words)


def _taken(words: list[str], known: Mapping[str, Sequence[str]]) -> str | None:
    """Take the first word that a mapping knows out of a list; what it stands for."""
    for word in words:
        for meaning, spellings in known.items():
            if word in spellings:
                words.remove(word)
                return meaning
    return None


def _spaced(heading: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", heading)


def _unglued(word: str) -> list[str]:
    """`valmn` as "val" and "mn"; other words as they are."""
    for spellings in DIMENSIONS.values():
        for spelling in spellings:
            rest = word.removeprefix(spelling)
            is_glued = rest != word and any(rest in some for some in STATISTICS.values())
            if is_glued and len(spelling) > 1:
                return [spelling, rest]
    return [word]


def _naming_column(table: Table, names_image: Callable[[str], object], doing: str) -> str:
    """The column whose cells name images most often."""
    shares = {
        column: sum(bool(names_image(cells.get(column, ""))) for _, cells in table.rows)
        / len(table.rows)
        for column in table.header
    }
    best = max(shares.values())
    fitting = [column for column, share in shares.items() if share == best]
    if best < NAMING_SHARE or len(fitting) > 1:
        told = f"{best:.0%} of the cells of {quoted(fitting)} name an image"
        raise UserError(
            doing,
            found=told if best else "no column whose cells name images of the folder",
            expected=f"one column that names them, of {quoted(table.header, 60)}",
            fix="name it with --file-column, and see that folder and table belong together",
        )
    return fitting[0]
