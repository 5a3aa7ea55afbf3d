"""Lints of templates: negation cues, pairs, ends that tell the negation, repeats."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from emo_harness.probe.corpus.findings import Finding
from emo_harness.probe.corpus.templates import Template, TemplateSet

MAX_ACCURACY = 0.6
MAX_SHAPE_SHARE = 0.05
MAX_CLASS_RATIO = 1.1
_CUES = "not no never none nobody nothing nowhere neither nor cannot without hardly scarcely barely"
# Words of these that deny nothing.
_IDIOMS = re.compile(r"\b(?:no matter|no doubt|not only|no wonder)\b")
_CUE = re.compile(rf"\b(?:{'|'.join(_CUES.split())})\b|n't\b")
_ARTICLE = re.compile(r"\ban?\s+$", re.IGNORECASE)


def template_findings(one: TemplateSet) -> Iterator[Finding]:
    yield from _cues(one)
    yield from _repeats(one)
    yield from _pairs(one)
    yield from _last_words(one)
    yield from _negations(one)
    yield from _shapes(one)
    yield from _spelling(one)


def cues(text: str) -> list[str]:
    """The words of a text that deny something, in order; curly apostrophes as straight ones."""
    plain = _IDIOMS.sub(" ", text.lower().replace("’", "'"))
    return _CUE.findall(plain)


def last_word_accuracy(templates: Sequence[Template]) -> float:
    """How well the last word tells the negation: share right when each word says its majority.

    (sum over words that end several templates of max(plain, negated) + half of the rest) / n;
    0.5 where every word ends as many plain as negated templates.
    """
    counts: dict[str, Counter[bool]] = defaultdict(Counter)
    for template in templates:
        counts[template.last_word][template.negation] += 1
    right = sum(max(c.values()) if c.total() > 1 else 0.5 for c in counts.values())
    return right / len(templates)


def pairs_of(templates: Sequence[Template]) -> list[tuple[int, int]]:
    """Ordinals of the plain and the negated template of each scenario that has just these."""
    scenarios: dict[int, list[int]] = defaultdict(list)
    for ordinal, template in enumerate(templates):
        scenarios[template.scenario].append(ordinal)
    return [
        (both[0], both[1]) if templates[both[1]].negation else (both[1], both[0])
        for both in scenarios.values()
        if len(both) == 2 and templates[both[0]].negation != templates[both[1]].negation
    ]


def _cues(one: TemplateSet) -> Iterator[Finding]:
    found: dict[tuple[bool, bool, bool], list[int]] = defaultdict(list)
    for ordinal, template in enumerate(one.templates):
        before, after = bool(cues(template.before)), bool(cues(template.after))
        found[template.negation, before, after].append(ordinal)
    cases = (
        (
            found[True, False, False],
            ("error", "negation-without-cue", "flagged as negated, but no word denies anything"),
        ),
        (
            found[False, True, False] + found[False, True, True],
            ("error", "cue-in-plain", "flagged as plain, but a word before the slot denies"),
        ),
        (
            found[False, False, True],
            ("warning", "cue-in-plain", "flagged as plain; a word after the slot denies something"),
        ),
        (
            found[True, False, True],
            ("warning", "cue-after-slot", "flagged as negated; only words after the slot deny"),
        ),
    )
    for ordinals, (level, check, message) in cases:
        if ordinals:
            yield Finding(level, check, one.name, message, _told(one, sorted(ordinals)))  # type: ignore[arg-type]


def _repeats(one: TemplateSet) -> Iterator[Finding]:
    times = Counter(template.text for template in one.templates)
    twice = tuple(text for text, n in times.items() if n > 1)
    if twice:
        yield Finding("warning", "template-twice", one.name, "templates that stand twice", twice)


def _pairs(one: TemplateSet) -> Iterator[Finding]:
    pairs = pairs_of(one.templates)
    alone = len(one.templates) - 2 * len(pairs)
    if alone:
        message = f"{alone} of {len(one.templates)} templates belong to no scenario pair"
        yield Finding("note", "unpaired", one.name, message)
    differing = [
        plain
        for plain, negated in pairs
        if one.templates[plain].last_word != one.templates[negated].last_word
    ]
    if differing:
        message = f"{len(differing)} of {len(pairs)} pairs whose last words differ"
        yield Finding("warning", "pair-ends", one.name, message, _told(one, differing))


def _last_words(one: TemplateSet) -> Iterator[Finding]:
    accuracy = last_word_accuracy(one.templates)
    if accuracy > MAX_ACCURACY:
        message = (
            f"the last word alone tells the negation of {accuracy:.0%} of the templates, so a "
            "position there knows it without reading on"
        )
        yield Finding("warning", "last-word", one.name, message)


def _negations(one: TemplateSet) -> Iterator[Finding]:
    negated = sum(template.negation for template in one.templates)
    plain = len(one.templates) - negated
    if max(plain, negated) > MAX_CLASS_RATIO * min(plain, negated):
        message = f"{plain} plain and {negated} negated templates"
        yield Finding("warning", "negation-balance", one.name, message)


def _shapes(one: TemplateSet) -> Iterator[Finding]:
    counts = Counter(template.shape for template in one.templates)
    limit = max(2, MAX_SHAPE_SHARE * len(one.templates))
    common = [(shape, n) for shape, n in counts.most_common() if n > limit]
    if common:
        covered = sum(n for _, n in common)
        message = (
            f"{len(counts)} shapes, of which {len(common)} cover {covered} of "
            f"{len(one.templates)} templates"
        )
        yield Finding(
            "warning", "shapes", one.name, message, tuple(f"{n}x `{s}`" for s, n in common)
        )


def _spelling(one: TemplateSet) -> Iterator[Finding]:
    texts = [template.text for template in one.templates]
    padded = [n for n, text in enumerate(texts) if text != text.strip()]
    if padded:
        message = "white space at an end, which tokenizers treat each in its own way"
        yield Finding("warning", "white-space", one.name, message, _told(one, padded))
    articles = [n for n, t in enumerate(one.templates) if _ARTICLE.search(t.before)]
    if articles:
        message = "an article before the slot, which is wrong for some words (a, an)"
        yield Finding("warning", "article", one.name, message, _told(one, articles))
    curly, straight = sum("’" in text for text in texts), sum("'" in text for text in texts)
    if curly and straight:
        message = f"curly apostrophes in {curly} templates, straight ones in {straight}"
        yield Finding("note", "apostrophes", one.name, message)


def _told(one: TemplateSet, ordinals: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{n + 1} {one.templates[n].text!r}" for n in ordinals)
