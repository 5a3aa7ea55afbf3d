"""`emo probe emo-llm`: the published tables of Emo_LLM, made again on any model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations
    from emo_harness.probe.corpus import Corpus
    from emo_harness.probe.evaluation import Evaluation

NAME = "emo-llm"
EXAMPLE = "Example: emo probe emo-llm --model gpt2 --datasets Emo_LLM/datasets --out emo-llm/"
ACTIVATIONS = "activations"


def command(
    model: str = typer.Option(..., help="A model on the hub, or a folder in the same format."),
    datasets: Path = typer.Option(
        ..., help="The datasets folder of a checkout of amanb2000/Emo_LLM, or one like it."
    ),
    out: Path = typer.Option(
        Path("emo-llm"), help="Folder for activations, texts, weights and results."
    ),
    seeds: int = typer.Option(5, min=1, help="How many splits are drawn."),
    lists: str = typer.Option(
        "published",
        help="published: the adjectives of commit e12b48d where they are there; later: those that "
        "replaced them.",
    ),
    no_knn: bool = typer.Option(False, "--no-knn", help="Leave out the nearest neighbours."),
    revision: str | None = typer.Option(None, help="Branch, tag or commit of the model."),
    device: str | None = typer.Option(None, help="Where to compute: cpu, cuda, ..."),
    dtype: str = typer.Option(
        "float16", help="How activations are stored: float16, bfloat16 or float32."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Capture Emo_LLM's prompts and follow its procedure, with its published figures beside.

    Valence and arousal, logistic regression and nearest neighbours, on unseen adjectives (E1),
    templates (E2) and combinations (E3). A capture that was cut short goes on where it was.
    """
    from emo_harness.probe.corpus import load_corpus
    from emo_harness.probe.emo_llm.lists import WHICH, find_files

    which = _one_of(lists, WHICH, "--lists")
    stored = _one_of(dtype, ("float16", "bfloat16", "float32"), "--dtype")
    files = find_files(datasets, which)
    corpus = load_corpus(files.adjectives, files.templates)
    store = _captured(model, revision, device, corpus, out / ACTIVATIONS, stored)
    evaluations = _evaluated(store, corpus, out, seeds, not no_knn)
    _print(evaluations, corpus, out, as_json)


def _one_of(given: str, known: tuple[Any, ...], option: str) -> Any:
    from emo_harness.errors import UserError, nearest, quoted

    if given not in known:
        raise UserError(
            f"reading {option}",
            found=f"{given!r}{nearest(given, known)}",
            expected=f"one of {quoted(known)}",
            fix="name one of them",
        )
    return given


def _captured(
    model: str, revision: str | None, device: str | None, corpus: Corpus, folder: Path, dtype: Any
) -> Activations:
    from emo_harness.activations.capture import capture
    from emo_harness.activations.loading import load_language_model

    return capture(
        load_language_model(model, revision=revision, device=device),
        corpus.prompts(),
        folder,
        sites=["value"],
        position="last",
        dtype=dtype,
        corpus_facts=corpus.facts,
    )


def _evaluated(
    store: Activations, corpus: Corpus, out: Path, seeds: int, knn: bool
) -> list[Evaluation]:
    from emo_harness.probe.emo_llm.protocol import evaluate_emo_llm

    return [
        evaluate_emo_llm(store, name, seeds=seeds, out=out / name, knn=knn)
        for name in corpus.dimensions
    ]


def _print(evaluations: list[Evaluation], corpus: Corpus, out: Path, as_json: bool) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.probe.emo_llm.lists import lists_told
    from emo_harness.probe.emo_llm.protocol import PUBLISHED
    from emo_harness.probe.emo_llm.texts import comparison

    told = lists_told(corpus)
    if as_json:
        found = {
            "out": str(out),
            "lists": told,
            "published": {name: dict(figures) for name, figures in PUBLISHED.items()},
            "evaluations": [evaluation.as_json() for evaluation in evaluations],
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    columns, rows = comparison(evaluations)
    model = evaluations[0].settings["model"]["name"]
    n_seeds = len(evaluations[0].settings["seeds"])
    notes = [
        f"Accuracies, mean ± standard deviation over {n_seeds} splits; published: one split, "
        "GPT-2 (124M). Intervals are in results.parquet.",
        *told,
        *(f"{e.dimensions[0]}: {remark}" for e in evaluations for remark in e.remarks),
        f"Texts, weights and results: {out}. What these numbers leave open: docs/emo-llm.md",
    ]
    print_table(console(), f"{model} by the procedure of Emo_LLM", columns, rows, notes)
