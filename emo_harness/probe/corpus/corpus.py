"""Corpus: every word in every template, as prompts whose facts the probes are tested by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from emo_harness.errors import UserError
from emo_harness.probe.corpus.dimensions import Dimension
from emo_harness.probe.corpus.templates import Template, TemplateSet, read_templates
from emo_harness.probe.corpus.words import Word, WordList, read_word_lists
from emo_harness.resources import resource

SHIPPED_WORDS = "templates/probing/words.yaml"
SHIPPED_TEMPLATES = "templates/probing/sentences.yaml"


@dataclass(frozen=True)
class Corpus:
    """Adjective lists and templates.

    Attributes:
        lists: one per adjective file. A word may stand in several; its poles in a row are those
            that the row's list gives.
        templates: of one file.
    """

    lists: tuple[WordList, ...]
    templates: TemplateSet

    @property
    def dimensions(self) -> dict[str, Dimension]:
        return {d.name: d for one in self.lists for d in one.dimensions}

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all lists in order, repeats kept."""
        return tuple(word for one in self.lists for word in one.words)

    @property
    def n_prompts(self) -> int:
        return len(self.words) * len(self.templates.templates)

    def prompts(self) -> pd.DataFrame:
        """One row per list, template and word, in this order.

        Returns:
            text; span_first and span_last (Int64): the adjective is text[span_first:span_last];
            word, lemma, template, template_text, scenario, shape, negation, list; scene, where
            the templates tell it; one Int8 column per dimension with the pole that the row's list
            gives the word, NA where it gives none.
        """
        rows = list(self._rows())
        table = pd.DataFrame(rows)
        for name in ("span_first", "span_last"):
            table[name] = table[name].astype("Int64")
        for name in self.dimensions:
            table[name] = table[name].astype("Int8")
        if table["scene"].isna().all():
            table = table.drop(columns="scene")
        return table

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a store's manifest tells of the corpus; JSON values."""
        templates = self.templates
        kinds = {one.kind for one in self.lists} | {templates.kind}
        n_words, n_templates = len(self.words), len(templates.templates)
        return {
            "kind": "emo-llm" if kinds == {"emo-llm"} else "probing",
            "sha256": self._sha256(),
            "description": f"{n_words} adjectives of {_joined(o.name for o in self.lists)} "
            f"in {n_templates} templates of {templates.name}",
            "dimensions": {
                d.name: {
                    "high": d.high,
                    "low": d.low,
                    "first": d.first,
                    "decided_by": d.decided_by,
                }
                for d in self.dimensions.values()
            },
            "adjectives": [
                {"name": one.name, "n_words": len(one.words), "sha256": one.sha256}
                for one in self.lists
            ],
            "templates": {
                "name": templates.name,
                "n_templates": n_templates,
                "sha256": templates.sha256,
            },
            "n_prompts": self.n_prompts,
        }

    def _rows(self) -> Iterator[dict[str, Any]]:
        names = list(self.dimensions)
        for one in self.lists:
            for ordinal, template in enumerate(self.templates.templates):
                first = len(template.before)
                for word in one.words:
                    yield {
                        "text": template.filled(word.text),
                        "span_first": first,
                        "span_last": first + len(word.text),
                        "word": word.text,
                        "lemma": word.lemma,
                        "template": ordinal,
                        "template_text": template.text,
                        "scenario": template.scenario,
                        "shape": template.shape,
                        "scene": template.scene,
                        "negation": template.negation,
                        "list": one.name,
                        **{name: word.poles.get(name) for name in names},
                    }

    def _sha256(self) -> str:
        content = [
            [
                [one.name, [[w.text, w.lemma, sorted(w.poles.items())] for w in one.words]]
                for one in self.lists
            ],
            [_told(template) for template in self.templates.templates],
        ]
        canonical = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def load_corpus(
    adjectives: Sequence[str | Path] | str | Path | None = None,
    templates: str | Path | None = None,
) -> Corpus:
    """Load a corpus: the shipped one, or files in its formats or in Emo_LLM's.

    Args:
        adjectives: adjective files, one list each; None is the shipped list.
        templates: a file of templates; None is the shipped one.

    Raises:
        UserError: a file is missing or broken; the message names file and entry.
    """
    if isinstance(adjectives, (str, Path)):
        adjectives = [adjectives]
    words = [resource(SHIPPED_WORDS)] if adjectives is None else [Path(p) for p in adjectives]
    sentences = resource(SHIPPED_TEMPLATES) if templates is None else Path(templates)
    corpus = Corpus(read_word_lists(words), read_templates(sentences))
    if corpus.n_prompts > MAX_PROMPTS:
        raise UserError(
            "putting adjectives into templates",
            found=f"{corpus.n_prompts:,} prompts",
            expected=f"at most {MAX_PROMPTS:,}",
            fix="split the adjectives or the templates into several files",
        )
    return corpus


MAX_PROMPTS = 5_000_000


def _told(template: Template) -> list[object]:
    return [
        template.text,
        template.negation,
        template.scenario,
        template.shape,
        template.scene,
    ]


def _joined(names: Iterable[str]) -> str:
    return " and ".join(names)
