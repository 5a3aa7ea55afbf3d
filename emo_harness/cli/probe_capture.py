"""`emo probe capture`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.cli.layers import layers_of
from emo_harness.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from emo_harness.activations import Activations, Work

NAME = "capture"
EXAMPLE = (
    "Examples: emo probe capture --model MODEL_FOLDER --out activations/; "
    "emo probe capture --model MODEL_FOLDER --run runs/ --sites resid_post --layers 6-11 "
    "--out activations/; "
    "accelerate launch --num_processes 2 -m emo_harness probe capture --model MODEL_FOLDER "
    "--out activations/"
)


def command(
    model: str = typer.Option(..., "--model", help="A model's folder, or its name on the hub."),
    out: Path = typer.Option(..., "--out", help="Folder for the activations."),
    adjectives: list[Path] = typer.Option(
        [], "--adjectives", help="A file of adjectives (YAML or Emo_LLM's JSON); may be repeated."
    ),
    templates: Path | None = typer.Option(
        None, "--templates", help="A file of templates (YAML or Emo_LLM's JSON)."
    ),
    texts: Path | None = typer.Option(
        None, "--texts", help="Your own prompts: .txt, one a line, or .jsonl with `text`, `span`."
    ),
    run: list[Path] = typer.Option(
        [], "--run", help="Prompts of a run folder, arm by arm; may be repeated."
    ),
    tasks: str | None = typer.Option(None, "--tasks", help="Of the run: task names, by commas."),
    arms: str | None = typer.Option(None, "--arms", help="Of the run: arm ids, by commas."),
    questions: int | None = typer.Option(
        None, "--questions", min=1, help="Of the run: the first so many of each task."
    ),
    sites: str = typer.Option(
        "value", "--sites", help="value, key, attn_out, mlp_out, resid_pre, resid_post; by commas."
    ),
    layers: str = typer.Option("all", "--layers", help="all, or numbers: 0,3,6-11."),
    position: str = typer.Option(
        "last",
        "--position",
        help="last (token), span (its last token), mean (over it), within (each of its), or all.",
    ),
    dtype: str = typer.Option("float16", "--dtype", help="Stored as float16, bfloat16, float32."),
    revision: str | None = typer.Option(None, "--revision", help="Of the model, on the hub."),
    device: str | None = typer.Option(None, "--device", help="E.g. cuda:1 or cpu."),
    model_dtype: str = typer.Option(
        "float32", "--model_dtype", help="Computed in float32, bfloat16, float16 or auto."
    ),
    batch_tokens: int | None = typer.Option(
        None, "--batch_tokens", min=1, help="Tokens computed together."
    ),
    trust_remote_code: bool = typer.Option(
        False, "--trust_remote_code", help="Run code that comes with the model."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print what was captured as JSON."),
) -> None:
    """Capture a model's activations on prompts: the shipped corpus, files, or a run's prompts.

    What prompts share is computed once. The same command goes on with a capture that was cut short,
    and computes only what is missing.
    """
    from emo_harness.activations.capture import Work, capture
    from emo_harness.activations.loading import load_language_model
    from emo_harness.activations.processes import Processes

    wanted_layers = layers_of(layers)
    prompts, facts = _prompts(
        adjectives, templates, texts, run, _names(tasks), _names(arms), questions
    )
    processes = Processes.of_environment()
    loaded = load_language_model(
        model,
        revision=revision,
        dtype=model_dtype,  # type: ignore[arg-type]
        device=processes.own_device(device),
        trust_remote_code=trust_remote_code,
    )
    work = Work()
    captured = capture(
        loaded,
        prompts,
        out,
        sites=_names(sites) or [],
        layers=wanted_layers,
        position=position,
        dtype=dtype,  # type: ignore[arg-type]
        corpus_facts=facts,
        batch_tokens=batch_tokens,
        processes=processes,
        progress=processes.is_first,
        work=work,
    )
    if not processes.is_first:
        return
    told = _told(captured, work)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print(captured, work, told["bytes"])


def _prompts(
    adjectives: list[Path],
    templates: Path | None,
    texts: Path | None,
    run: list[Path],
    tasks: list[str] | None,
    arms: list[str] | None,
    questions: int | None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The prompts that were named, and facts about them."""
    named = {
        "--adjectives or --templates": bool(adjectives or templates),
        "--texts": texts is not None,
        "--run": bool(run),
    }
    of_run = {"--tasks": tasks, "--arms": arms, "--questions": questions}
    stray = [name for name, value in of_run.items() if value is not None and not run]
    if sum(named.values()) > 1 or stray:
        given = [name for name, is_given in named.items() if is_given] + stray
        raise UserError(
            "choosing prompts to capture",
            found=" and ".join(given) + (" without --run" if stray else ""),
            expected="prompts from one place: a corpus, --texts or --run",
            fix="capture them one after the other, into other folders",
        )
    if texts is not None:
        from emo_harness.activations.texts import read_texts, texts_facts

        return read_texts(texts), texts_facts(texts)
    if run:
        from emo_harness.runs import run_prompts

        prompts = run_prompts(run, tasks=tasks, arms=arms, n_questions=questions)
        names = sorted(prompts["task"].unique())
        facts = {"kind": "run", "tasks": names, "arms": list(prompts["arm"].unique())}
        told = ", ".join(map(str, run))
        return prompts, {**facts, "description": f"{len(prompts):,} prompts of {told}"}
    from emo_harness.probe.corpus import load_corpus

    corpus = load_corpus(adjectives or None, templates)
    return corpus.prompts(), corpus.facts


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def _told(captured: Activations, work: Work) -> dict[str, Any]:
    manifest = captured.manifest
    files = [path for path in captured.folder.iterdir() if path.is_file()]
    return {
        "folder": str(captured.folder),
        "model": manifest.model.model_dump(),
        "corpus": manifest.corpus.get("description"),
        "rows": captured.n_rows,
        "sites": manifest.sites,
        "layers": manifest.layers,
        "position": manifest.position,
        "shapes": manifest.shapes,
        "dtype": manifest.dtype,
        "bytes": sum(path.stat().st_size for path in files),
        **asdict(work),
    }


def _print(captured: Activations, work: Work, n_bytes: int) -> None:
    manifest = captured.manifest
    model = manifest.model
    n_layers = len(manifest.layers)
    shapes = {site: " x ".join(map(str, manifest.shapes[site])) for site in manifest.sites}
    lines = [
        f"model     {model.name} ({model.model_type}, {model.n_layers} layers, {model.dtype})",
        f"prompts   {manifest.corpus.get('description', 'unknown')}",
        f"rows      {captured.n_rows:,}, at position {manifest.position}",
        *(f"{site:9} {n_layers} layers x {shape}" for site, shape in shapes.items()),
        f"size      {n_bytes / 1e6:,.1f} MB as {manifest.dtype}, {work.n_shards} shards",
    ]
    if work.n_computed:
        lines += [
            f"tokens    {work.naive_tokens:,} in all prompts, {work.distinct_tokens:,} distinct, "
            f"{work.computed_tokens:,} computed here",
            f"engine    {work.engine}" + (f" ({work.why_padded})" if work.why_padded else ""),
            f"seconds   {work.seconds:.1f} for {work.n_computed} shards",
        ]
    typer.echo("\n".join(lines))
    done = "wrote" if work.n_computed else "nothing new: this capture is complete in"
    typer.echo(f"{done} {captured.folder}")
