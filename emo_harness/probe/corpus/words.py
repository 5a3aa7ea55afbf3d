"""Words: adjectives with their poles on dimensions such as valence and arousal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from emo_harness.errors import UserError, quoted
from emo_harness.probe.corpus.dimensions import RESERVED, Dimension, dimension_of
from emo_harness.probe.corpus.files import MEND, file_sha256, parsed, text_mistake
from emo_harness.probe.corpus.siblings import lemmas
from emo_harness.validation import Strict, validated

POLES = {"high": 1, "low": -1, "neutral": 0}
Kind = Literal["probing", "emo-llm"]


@dataclass(frozen=True)
class Word:
    """One adjective.

    Attributes:
        text: as it is put into a slot.
        lemma: names the word's siblings (happy, unhappy), which no split may part.
        poles: +1 high, -1 low, 0 neutral, by dimension; a dimension on which the word was not
            placed is absent.
    """

    text: str
    lemma: str
    poles: Mapping[str, int]


@dataclass(frozen=True)
class WordList:
    """The adjectives of one file, in its order."""

    name: str
    path: Path
    kind: Kind
    words: tuple[Word, ...]
    dimensions: tuple[Dimension, ...]
    sha256: str


def read_word_lists(paths: Sequence[Path]) -> tuple[WordList, ...]:
    """Read adjective files, Emo_LLM's JSON or our YAML, one list each.

    Siblings that no file declares are found by rule among the words of all Emo_LLM files.

    Raises:
        UserError: no file, one file twice, a broken file, or two files that name the classes of
            one dimension differently.
    """
    doing = "reading the adjectives of a probing corpus"
    if not paths:
        raise UserError(
            doing, found="no file", expected="at least one adjective file", fix="name one"
        )
    lists: list[WordList] = []
    for path in paths:
        if any(path.resolve() == one.path.resolve() for one in lists):
            raise UserError(
                doing, found=f"{path} twice", expected="each file once", fix="leave one out"
            )
        lists.append(_read(path, {one.name for one in lists}))
    _must_agree(lists, doing)
    by_rule = lemmas(w.text for one in lists if one.kind == "emo-llm" for w in one.words)
    return tuple(
        one
        if one.kind == "probing"
        else replace(one, words=tuple(replace(w, lemma=by_rule[w.text]) for w in one.words))
        for one in lists
    )


def _read(path: Path, taken: set[str]) -> WordList:
    doing = f"reading the adjectives {path.name}"
    raw = parsed(path, doing)
    if not isinstance(raw, dict):
        raise UserError(
            doing,
            found=f"a {type(raw).__name__} at the top",
            expected='an object with two classes, {"class": ["word", ...], ...}, or `sets:`',
            fix=MEND,
        )
    words, dimensions, kind = (
        (*_own(raw, doing), "probing") if "sets" in raw else (*_classes(raw, doing), "emo-llm")
    )
    name = next(n for n in _names(path.stem) if n not in taken)
    return WordList(name, path, kind, words, dimensions, file_sha256(path))  # type: ignore[arg-type]


def _names(name: str) -> Iterable[str]:
    yield name
    number = 2
    while True:
        yield f"{name} ({number})"
        number += 1


def _classes(raw: dict[str, Any], doing: str) -> tuple[tuple[Word, ...], tuple[Dimension, ...]]:
    if len(raw) != 2:
        raise UserError(
            doing,
            found=f"{len(raw)} class{'' if len(raw) == 1 else 'es'} ({quoted(map(str, raw))})",
            expected="two classes, whose order says which is first",
            fix=MEND,
        )
    dimension = dimension_of(*raw)
    words = []
    for key, entries in raw.items():
        if not isinstance(entries, list) or not entries:
            raise UserError(
                f"{doing}, class {key!r}",
                found="an empty list" if entries == [] else f"a {type(entries).__name__}",
                expected="a list of at least one adjective",
                fix=MEND,
            )
        pole = {dimension.name: 1 if key == dimension.high else -1}
        for number, entry in enumerate(entries, start=1):
            text = _adjective(entry, f"{doing}, class {key!r}, entry {number}")
            words.append(Word(text, text, pole))
    return tuple(words), (dimension,)


def _adjective(entry: object, doing: str) -> str:
    if not isinstance(entry, str):
        raise UserError(doing, found=f"{entry!r:.60}", expected="a word as a string", fix=MEND)
    mistake = text_mistake(entry)
    if not mistake and (entry != entry.strip() or "\n" in entry or "\t" in entry):
        mistake = f"white space around or breaks within {entry!r:.60}"
    if mistake:
        raise UserError(doing, found=mistake, expected="a word on its own", fix=MEND)
    return entry


class _Set(Strict):
    poles: dict[str, Literal["high", "low", "neutral"]]
    words: list[Any]


class _WordsFile(Strict):
    name: str | None = None
    version: int = 1
    description: str | None = None
    sets: list[_Set]
    siblings: list[list[str]] = Field(default_factory=list)


def _own(raw: dict[str, Any], doing: str) -> tuple[tuple[Word, ...], tuple[Dimension, ...]]:
    file = validated(_WordsFile, raw, doing, MEND)
    if not file.sets:
        raise UserError(doing, found="no set of words", expected="at least two", fix=MEND)
    placed: dict[str, Mapping[str, int]] = {}
    for number, one in enumerate(file.sets, start=1):
        where = f"{doing}, set {number}"
        if not one.words or not one.poles:
            raise UserError(
                where,
                found="no words" if one.poles else "no poles",
                expected="`poles:` on at least one dimension and at least one word",
                fix=MEND,
            )
        for place, entry in enumerate(one.words, start=1):
            text = _adjective(entry, f"{where}, entry {place}")
            if text in placed:
                raise UserError(
                    f"{where}, entry {place}",
                    found=f"{text!r} a second time",
                    expected="every word once, with all its poles",
                    fix=MEND,
                )
            placed[text] = {name: POLES[pole] for name, pole in one.poles.items()}
    lemma = _declared(file.siblings, placed, doing)
    words = tuple(Word(text, lemma.get(text, text), poles) for text, poles in placed.items())
    return words, _dimensions(words, doing)


def _declared(siblings: list[list[str]], words: Iterable[str], doing: str) -> dict[str, str]:
    known = set(words)
    lemma: dict[str, str] = {}
    for number, group in enumerate(siblings, start=1):
        for word in group:
            if word not in known or word in lemma:
                raise UserError(
                    f"{doing}, group {number} of siblings",
                    found=f"{word!r}, which is "
                    + ("in two groups" if word in lemma else "no word"),
                    expected="words of the file, each in one group",
                    fix=MEND,
                )
            lemma[word] = group[0]
    return lemma


def _dimensions(words: Sequence[Word], doing: str) -> tuple[Dimension, ...]:
    names = list(dict.fromkeys(name for word in words for name in word.poles))
    for name in names:
        poles = {word.poles.get(name) for word in words}
        if name in RESERVED or not name.isidentifier():
            raise UserError(
                doing,
                found=f"a dimension called {name!r}",
                expected="a name such as valence, which no column of the prompts has",
                fix="rename the dimension",
            )
        if not {1, -1} <= poles:
            missing = "high" if 1 not in poles else "low"
            raise UserError(
                doing,
                found=f"no word of {missing} {name}",
                expected="words at both poles of each dimension",
                fix=MEND,
            )
    return tuple(
        Dimension(name, f"{name} high", f"{name} low", f"{name} low", "the file") for name in names
    )


def _must_agree(lists: Sequence[WordList], doing: str) -> None:
    seen: dict[str, tuple[str, Dimension]] = {}
    for one in lists:
        for dimension in one.dimensions:
            name, before = seen.setdefault(dimension.name, (one.name, dimension))
            if before != dimension:
                raise UserError(
                    doing,
                    found=f"{dimension.name} with classes {dimension.low!r} and "
                    f"{dimension.high!r} (first: {dimension.first!r}) in {one.name}, "
                    f"{before.low!r} and {before.high!r} (first: {before.first!r}) in {name}",
                    expected="the same classes in the same order in all files of a dimension",
                    fix="load the files one by one, or rename the classes in one of them",
                )
