"""Splits: what a probe has seen of a prompt's word and of its template, and what it has not.

E1: unseen word, seen template. E2: seen word, unseen template. E3: both seen, their combination
not. E4: both unseen. All other rows are for training. Words and templates are held out by groups,
so that no near-copy of what is held out is in training.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.probe.targets import Bools, Ints, Targets

TRAIN, E1, E2, E3, E4 = range(5)
PARTS = ("E1", "E2", "E3", "E4")
HELD_OUT = 0.15
HELD_OUT_CELLS = 0.10
# A group may overshoot what is to be held out of its stratum by this factor.
_MOST = 1.5
WORD_RULES = ("adjective", "lemma")
TEMPLATE_RULES = ("template", "scenario", "shape")
DEFAULT_GROUP = "lemma,shape"


@dataclass(frozen=True, eq=False)
class Split:
    """One division of the rows.

    Attributes:
        seed: it was drawn with.
        part: (n,) int8, TRAIN or one of E1 to E4.
        seen_words: (W,) bool.
        seen_templates: (T,) bool.
    """

    seed: int
    part: NDArray[np.int8]
    seen_words: Bools
    seen_templates: Bools

    @property
    def train(self) -> Bools:
        """(n,) bool."""
        return self.part == TRAIN


def parse_group(text: str) -> tuple[str, str]:
    """What "lemma,shape" means: a rule for words and one for templates; either may be left out.

    Raises:
        UserError: there is no such rule, or two for one thing.
    """
    chosen: dict[str, str] = {}
    for name in (part.strip() for part in text.split(",") if part.strip()):
        kind = "words" if name in WORD_RULES else "templates"
        if name not in WORD_RULES + TEMPLATE_RULES or kind in chosen:
            known = WORD_RULES + TEMPLATE_RULES
            raise UserError(
                "reading --group",
                found=f"a second rule for {kind}" if name in known else name + nearest(name, known),
                expected=f"one of {quoted(WORD_RULES)} and one of {quoted(TEMPLATE_RULES)}",
                fix=f"write for example --group {DEFAULT_GROUP}",
            )
        chosen[kind] = name
    words, templates = DEFAULT_GROUP.split(",")
    return chosen.get("words", words), chosen.get("templates", templates)


def word_groups(targets: Targets, rule: str) -> Ints:
    """(W,) which words are held out together: each alone, or those of one lemma."""
    return _numbered(targets.lemmas if rule == "lemma" else targets.words)


def template_groups(targets: Targets, rule: str) -> Ints:
    """(T,) which templates are held out together.

    "template": each alone. "scenario": the members of a pair. "shape": those of one shape, that is,
    equal up to names and nouns.
    """
    if rule == "template":
        return np.arange(len(targets.negates))
    return _numbered(targets.scenarios if rule == "scenario" else targets.shapes)


def split_rows(targets: Targets, seed: int, group: tuple[str, str] = ("lemma", "shape")) -> Split:
    """Draw what is held out: 15% of each pole's words, 15% of the templates with and of those
    without negation, and 10% of the combinations of what is left (see `_held_out_cells`).

    Raises:
        UserError: too few words or templates for every part to hold both targets.
    """
    rng = np.random.default_rng([seed, 0])
    words, templates = word_groups(targets, group[0]), template_groups(targets, group[1])
    seen_words = ~_held_out(words, _strata(words, targets.poles), rng)
    seen_templates = ~_held_out(templates, _strata(templates, targets.negates), rng)
    word_seen, template_seen = seen_words[targets.word], seen_templates[targets.template]
    part = np.full(len(targets), TRAIN, np.int8)
    part[word_seen & template_seen & _held_out_cells(targets, seen_words, seen_templates, rng)] = E3
    part[~word_seen & template_seen] = E1
    part[word_seen & ~template_seen] = E2
    part[~word_seen & ~template_seen] = E4
    _check(targets, part, group)
    return Split(seed, part, seen_words, seen_templates)


def never_held_out(targets: Targets, group: tuple[str, str]) -> list[str]:
    """Groups too large for their stratum's share, which stay in training, in words."""
    found = []
    kinds = (
        (group[0], word_groups(targets, group[0]), targets.poles, "words", targets.lemmas),
        (group[1], template_groups(targets, group[1]), targets.negates, "templates", None),
    )
    for rule, groups, held, noun, names in kinds:
        labels = names or (targets.shapes if rule == "shape" else targets.template_texts)
        strata, sizes = _strata(groups, held), np.bincount(groups)
        for number, size in enumerate(sizes):
            share = HELD_OUT * sizes[strata == strata[number]].sum()
            if size > _MOST * share and size > sizes[strata == strata[number]].min():
                first = labels[int(np.flatnonzero(groups == number)[0])]
                found.append(f"{rule} {first!r} ({size} {noun})")
    return found


def _numbered(names: Sequence[Hashable]) -> Ints:
    places = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], np.int64)


def _strata(groups: Ints, kinds: NDArray[np.generic]) -> Ints:
    """(n_groups,) number of the kind that most of a group's members are of."""
    _, codes = np.unique(kinds, return_inverse=True)
    n_kinds = int(codes.max()) + 1
    counts = np.bincount(groups * n_kinds + codes, minlength=n_kinds * (int(groups.max()) + 1))
    return counts.reshape(-1, n_kinds).argmax(axis=1).astype(np.int64)


def _held_out(groups: Ints, strata: Ints, rng: np.random.Generator) -> Bools:
    """(n_members,) whether it is held out: whole groups, drawn within strata.

    A group too large for its stratum's share is passed over; where all are, the smallest is taken.
    """
    sizes = np.bincount(groups)
    held = np.zeros(len(sizes), bool)
    for stratum in np.unique(strata):
        own = rng.permutation(np.flatnonzero(strata == stratum))
        wanted = HELD_OUT * sizes[own].sum()
        taken = 0
        for one in own:
            if taken < wanted and taken + sizes[one] <= _MOST * wanted:
                held[one] = True
                taken += sizes[one]
        if not taken and len(own) > 1:
            held[own[np.argmin(sizes[own])]] = True
    return held[groups]


def _held_out_cells(
    targets: Targets, seen_words: Bools, seen_templates: Bools, rng: np.random.Generator
) -> Bools:
    """(n,) whether the row's combination is held out: blocks of two words by two templates.

    A block holds a word of either pole and a template of either kind, so that what is left of each
    word and of each template keeps its balance of targets. Single combinations would tilt it away
    from their own target, and all that is additive would score below chance.
    """
    word_pair = _paired(targets.poles == 1, seen_words, rng)
    template_pair = _paired(targets.negates, seen_templates, rng)
    if not len(targets.subsets) > 1:
        template_pair = np.where(seen_templates, np.arange(len(seen_templates)), -1)
    n_blocks = int(word_pair.max() + 1), int(template_pair.max() + 1)
    held = rng.random((max(n_blocks[0], 1), max(n_blocks[1], 1))) < HELD_OUT_CELLS
    word, template = word_pair[targets.word], template_pair[targets.template]
    found: Bools = held[word, template] & (word >= 0) & (template >= 0)
    return found


def _paired(kinds: Bools, seen: Bools, rng: np.random.Generator) -> Ints:
    """(n,) number of the pair, one of either kind, that a seen member is in; -1 if in none."""
    first = rng.permutation(np.flatnonzero(kinds & seen))
    second = rng.permutation(np.flatnonzero(~kinds & seen))
    n = min(len(first), len(second))
    pair = np.full(len(kinds), -1, np.int64)
    pair[first[:n]] = pair[second[:n]] = np.arange(n)
    return pair


def _check(targets: Targets, part: NDArray[np.int8], group: tuple[str, str]) -> None:
    for number, name in enumerate(("training", *PARTS)):
        for subset in targets.subsets:
            rows = targets.subset(subset)
            found = targets.targets[rows][part[rows] == number]
            if len(np.unique(found)) < 2:
                raise UserError(
                    f"splitting the rows of {targets.dimension}",
                    found=f"{len(found)} rows in {name} ({subset} templates), not of both targets",
                    expected="prompts of both targets in training and in each of E1 to E4",
                    fix=f"use more words and templates ({len(targets.words)} and "
                    f"{len(targets.negates)} here), or smaller groups than --group "
                    f"{','.join(group)}",
                )
