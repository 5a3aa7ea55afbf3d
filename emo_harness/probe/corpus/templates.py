"""Templates: sentences with one slot for an adjective, ended before their outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emo_harness.errors import UserError
from emo_harness.probe.corpus.files import MEND, file_sha256, parsed, text_mistake
from emo_harness.probe.corpus.shapes import SLOT, shape_of
from emo_harness.probe.corpus.words import Kind
from emo_harness.validation import Strict, validated

Scene = Literal["pleasant", "unpleasant", "neutral"]


@dataclass(frozen=True)
class Template:
    """One sentence with a slot.

    Attributes:
        text: with one "{}".
        negation: whether the sentence denies the adjective.
        scenario: number of the pair, the same sentence with and without negation.
        shape: see `shapes`; both sentences of one of our pairs have the plain one's.
        scene: what happens in it; None where unknown.
        note: as the file has it.
    """

    text: str
    negation: bool
    scenario: int
    shape: str
    scene: Scene | None = None
    note: str = ""

    def filled(self, word: str) -> str:
        return self.text.replace(SLOT, word)

    @property
    def before(self) -> str:
        return self.text.split(SLOT)[0]

    @property
    def after(self) -> str:
        return self.text.split(SLOT)[1]

    @property
    def last_word(self) -> str:
        return (self.text.split() or [""])[-1].lower()


@dataclass(frozen=True)
class TemplateSet:
    """The templates of one file, in its order."""

    name: str
    path: Path
    kind: Kind
    templates: tuple[Template, ...]
    sha256: str


def read_templates(path: Path) -> TemplateSet:
    """Read a template file, Emo_LLM's JSON or our YAML of pairs.

    In Emo_LLM's format two neighbours are a scenario where plain and negated templates alternate
    all through, as in the published files; elsewhere each template is its own.

    Raises:
        UserError: a broken file, or a template without exactly one slot.
    """
    doing = f"reading the templates {path.name}"
    raw = parsed(path, doing)
    if isinstance(raw, dict) and "pairs" in raw:
        templates, kind = _own(raw, doing), "probing"
    elif isinstance(raw, list):
        templates, kind = _emo_llm(raw, doing), "emo-llm"
    else:
        raise UserError(
            doing,
            found=f"a {type(raw).__name__} without `pairs`"
            if isinstance(raw, dict)
            else f"a {type(raw).__name__}",
            expected='a list of {"prompt_template", "note", "negation"}, or `pairs:`',
            fix=MEND,
        )
    return TemplateSet(path.stem, path, kind, templates, file_sha256(path))  # type: ignore[arg-type]


def slot_mistake(text: str) -> str | None:
    """Why a text is no template, or None where it has one slot and no other brace."""
    slots = text.count(SLOT)
    stray = text.count("{") + text.count("}") - 2 * slots
    if slots == 1 and not stray:
        return text_mistake(text)
    count = "no slot" if slots == 0 else f"{slots} slots" if slots > 1 else "one slot"
    also = " and a brace that belongs to none" if stray else ""
    return f"{count}{also} in {text!r:.100}"


class _Entry(Strict):
    prompt_template: str
    negation: bool
    note: str = ""


def _emo_llm(raw: list[Any], doing: str) -> tuple[Template, ...]:
    _must_be_some(raw, doing)
    entries = []
    for number, one in enumerate(raw, start=1):
        entry = validated(_Entry, one, f"{doing}, entry {number}", MEND)
        _check(entry.prompt_template, f"{doing}, entry {number}")
        entries.append(entry)
    paired = all(entry.negation == bool(place % 2) for place, entry in enumerate(entries))
    return tuple(
        Template(
            entry.prompt_template,
            entry.negation,
            place // 2 if paired else place,
            shape_of(entry.prompt_template),
            note=entry.note,
        )
        for place, entry in enumerate(entries)
    )


class _Pair(Strict):
    plain: str
    negated: str
    scene: Scene | None = None


class _PairsFile(Strict):
    name: str | None = None
    version: int = 1
    description: str | None = None
    pairs: list[Any]


def _own(raw: dict[str, Any], doing: str) -> tuple[Template, ...]:
    file = validated(_PairsFile, raw, doing, MEND)
    _must_be_some(file.pairs, doing)
    templates = []
    for number, one in enumerate(file.pairs, start=1):
        pair = validated(_Pair, one, f"{doing}, pair {number}", MEND)
        for text, negation in ((pair.plain, False), (pair.negated, True)):
            _check(text, f"{doing}, pair {number}, {'negated' if negation else 'plain'}")
            templates.append(
                Template(text, negation, number - 1, shape_of(pair.plain), scene=pair.scene)
            )
    return tuple(templates)


def _must_be_some(entries: Sequence[object], doing: str) -> None:
    if not entries:
        raise UserError(doing, found="an empty list", expected="at least one template", fix=MEND)


def _check(text: str, doing: str) -> None:
    if mistake := slot_mistake(text):
        raise UserError(
            doing,
            found=mistake,
            expected='a sentence with exactly one "{}" and no other brace',
            fix=MEND,
        )
