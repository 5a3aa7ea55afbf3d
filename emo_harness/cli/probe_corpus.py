"""`emo probe corpus`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.cli.as_json import known

if TYPE_CHECKING:
    from emo_harness.probe.corpus.counts import CorpusCounts
    from emo_harness.probe.corpus.token_lints import CountTokens, TokenCounts

NAME = "corpus"
EXAMPLE = (
    "Examples: emo probe corpus; "
    "emo probe corpus --adjectives mine.json --templates sentences.json --tokenizer MODEL_FOLDER"
)


def command(
    adjectives: list[Path] = typer.Option(
        [], "--adjectives", help="A file of adjectives (YAML or Emo_LLM's JSON); may be repeated."
    ),
    templates: Path | None = typer.Option(
        None, "--templates", help="A file of templates (YAML or Emo_LLM's JSON)."
    ),
    tokenizer: str | None = typer.Option(
        None, "--tokenizer", help="A model's folder or name: count tokens too."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print counts and findings as JSON."),
) -> None:
    """Show a corpus of adjectives and sentence templates, and lint it.

    What is not named is the shipped one's. Ends with exit code 2 where a file cannot be read as
    what it should be, and with 1 where a finding is an error, which would make labels wrong.
    """
    from dataclasses import asdict

    from emo_harness.probe.corpus import load_corpus
    from emo_harness.probe.corpus.counts import count
    from emo_harness.probe.corpus.lints import lint
    from emo_harness.probe.corpus.token_lints import token_counts

    corpus = load_corpus(adjectives or None, templates)
    count_tokens = _counting(tokenizer) if tokenizer else None
    counts, findings = count(corpus), lint(corpus, count_tokens)
    tokens = token_counts(corpus, count_tokens) if count_tokens else []
    if as_json:
        told: dict[str, Any] = {
            "facts": corpus.facts,
            "counts": _plain(asdict(counts)),
            "tokens": [_plain(asdict(one)) for one in tokens],
            "findings": [asdict(finding) for finding in findings],
        }
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{corpus.facts['description']} (sha256 {corpus.facts['sha256'][:12]})")
        _print(counts, tokens)
        levels = Counter(finding.level for finding in findings)
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(
            f"{levels['error']} errors, {levels['warning']} warnings, {levels['note']} notes"
        )
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _print(counts: CorpusCounts, tokens: list[TokenCounts]) -> None:
    from emo_harness.cli.tables import console, print_table

    where = console()
    rows = [((p.dimension, str(p.high), str(p.low), str(p.neutral)), False) for p in counts.poles]
    notes = [
        f"{counts.words} words, {counts.distinct_words} distinct, {counts.lemmas} lemmas",
        *(
            f"{q.first} x {q.second}: high/high {q.high_high}, high/low {q.high_low}, "
            f"low/high {q.low_high}, low/low {q.low_low} (phi {q.phi:.2f})"
            for q in counts.quadrants
        ),
        f"{counts.templates} templates, {counts.negated} negated, {counts.pairs} pairs, "
        f"{counts.shapes} shapes, {counts.prompts:,} prompts",
        f"words after the slot: {_spread(counts.words_after_slot)}",
        f"{counts.last_words} last words, which tell the negation of "
        f"{counts.last_word_accuracy:.0%} of the templates (50% is chance)",
    ]
    if counts.scenes:
        notes.append("scenes: " + ", ".join(f"{n} {scene}" for scene, n in counts.scenes.items()))
    print_table(where, "Words", ("dimension", "high", "low", "neutral"), rows, notes)
    if tokens:
        lines = [
            (
                (one.dimension, *map(_spread, (one.high, one.low, one.neutral)), f"{one.auc:.2f}"),
                False,
            )
            for one in tokens
        ]
        notes = ["tokens:words; P(longer): that a high word has more tokens than a low one"]
        columns = ("dimension", "high", "low", "neutral", "P(longer)")
        print_table(where, "Tokens per word", columns, lines, notes)


def _spread(counts: dict[int, int]) -> str:
    return " ".join(f"{value}:{n}" for value, n in sorted(counts.items()))


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """For JSON: NaN as None at any depth, lists for tuples."""
    return known(
        {
            key: [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
            for key, value in fields.items()
        }
    )


def _counting(name: str) -> CountTokens:
    from emo_harness.errors import UserError

    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(
            f"loading the tokenizer {name!r}",
            found=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
            expected="a folder with a tokenizer, or a model's name on the hub",
            fix="name a folder that holds tokenizer.json",
        ) from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
