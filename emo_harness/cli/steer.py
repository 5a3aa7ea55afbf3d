"""`emo steer`: add an axis to a model's activations, and measure what that does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.cli import steer_export, steer_interpolate
from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel
    from emo_harness.steer.measures import Settings
    from emo_harness.steer.prompts import SteeredPrompt
    from emo_harness.steer.steering import Steering
    from emo_harness.steer.summary import Summary
    from emo_harness.steer.word_sets import FirstTokens

EXAMPLE = (
    "Example: emo steer --model ORG/MODEL --axes axes.safetensors --axis valence --layers 6-11 "
    "--out steered/"
)
NAME = "steer"
DOING = "reading the arguments of emo steer"
DOSES = "-2,-1,-.5,0,.5,1,2"
MOST_DOSES = 101
COLUMNS = (
    "dose",
    "log-odds change [95%]",
    "controls",
    "KL",
    "positive",
    "negative",
    "perplexity x",
    "controls x",
)
READING = (
    "log-odds change: of the positive over the negative words as next token, nats, from a dose of "
    "0, with its interval over prompts. positive, negative: change of log-probability of "
    "continuations of either class, nats per token. perplexity x: how many times the unsteered "
    "one, of neutral continuations. controls: least and greatest among random and orthogonal "
    "directions of the same length."
)
app = typer.Typer(
    invoke_without_command=True,
    epilog=EXAMPLE,
    help="Add doses of an axis to a model's activations, and measure what that does beside random "
    "and orthogonal directions of the same length.",
)
app.command(steer_interpolate.NAME, epilog=steer_interpolate.EXAMPLE)(steer_interpolate.command)
app.command(steer_export.NAME, epilog=steer_export.EXAMPLE)(steer_export.command)


@app.callback()
def steer(
    context: typer.Context,
    model: str = typer.Option(None, "--model", help="A folder, or a repository on the hub."),
    axes: Path = typer.Option(None, "--axes", help="Axes that `emo probe fit` wrote."),
    axis: str = typer.Option("valence", "--axis", help="Which of them."),
    site: str = typer.Option(None, "--site", help="Its site, where it is there at several."),
    layers: str = typer.Option(None, "--layers", help="E.g. 6-11 or 3,6-8; all by default."),
    doses: str = typer.Option(DOSES, "--doses", help="In class-mean distances; 0 is added."),
    positions: str = typer.Option("all", "--positions", help="all, last or generated."),
    prompts: Path = typer.Option(
        None, "--prompts", help=".txt, one a line, or .jsonl with text, class and group."
    ),
    limit: int = typer.Option(24, "--limit", min=1, help="How many templates, or lines of .txt."),
    words: Path = typer.Option(None, "--words", help="YAML with the lists positive and negative."),
    controls: int = typer.Option(4, "--controls", min=2, max=1000, help="Of each kind."),
    continuations: int = typer.Option(
        3, "--continuations", min=1, help="Of each prompt, by which the classes are told apart."
    ),
    max_tokens: int = typer.Option(12, "--max-tokens", min=2, help="Of a continuation."),
    samples: int = typer.Option(
        0, "--samples", min=0, help="New continuations of each prompt under each dose."
    ),
    lexicon: Path = typer.Option(
        None, "--lexicon", help="Norms of words for them, in a format of `emo probe`."
    ),
    seed: int = typer.Option(0, "--seed", min=0),
    revision: str = typer.Option(None, "--revision", help="Of the model on the hub."),
    dtype: str = typer.Option("float32", "--dtype", help="float32, bfloat16, float16 or auto."),
    device: str = typer.Option(None, "--device", help="cuda where there is one, else cpu."),
    out: Path = typer.Option(None, "--out", help="Where steer.json, .parquet and .svg go."),
    as_json: bool = typer.Option(False, "--json", help="Print the results as JSON, no table."),
) -> None:
    """Steer next tokens and continuations by dose."""
    if context.invoked_subcommand is not None:
        return
    for name, given in (("--model", model), ("--axes", axes), ("--out", out)):
        if given is None:
            raise _misread(f"no {name}", f"a value for {name}", EXAMPLE.removeprefix("Example: "))
    if (samples > 0) != (lexicon is not None):
        raise _misread(
            "one of --samples and --lexicon without the other",
            "both, or none",
            "name how many continuations to sample and the norms that tell their value",
        )
    from emo_harness.activations.loading import load_language_model
    from emo_harness.axes import load_axes, named_axis
    from emo_harness.steer.measures import Settings, measure
    from emo_harness.steer.spec import read_layers
    from emo_harness.steer.steering import Steering, require_same_model
    from emo_harness.steer.summary import summarise
    from emo_harness.steer.word_sets import first_tokens, load_word_sets

    chosen = named_axis(load_axes(axes), axis, site)
    amounts = _doses(doses)
    steering = Steering(chosen, 1.0, positions, read_layers(layers) if layers else None)  # type: ignore[arg-type]
    sets = load_word_sets(words, axis)
    values = _lexicon(lexicon, axis) if lexicon else None
    own, by_class = _prompts(prompts, axis, limit, seed)
    loaded = load_language_model(model, revision=revision, dtype=dtype, device=device)  # type: ignore[arg-type]
    require_same_model(chosen, loaded.layout, identity=loaded.facts.identity, name=model)
    tokens = first_tokens(sets, loaded.tokenizer)
    settings = Settings(
        steering.used,
        amounts,
        steering.positions,
        controls,
        continuations,
        max_tokens,
        samples,
        seed,
    )
    measured = measure(loaded, own, by_class, tokens, settings, values, quiet=as_json)
    summary = summarise(measured)
    remarks = [*steering.remarks, *_remarks(tokens)]
    told = _told(loaded, axes, steering, settings, tokens, summary, remarks)
    files = _write(out, told, measured, summary, f"{Path(model).name}: {_named(steering)}")
    _print(told, summary, remarks, files, as_json)


def _doses(text: str) -> tuple[float, ...]:
    try:
        amounts = sorted({float(part) + 0.0 for part in text.split(",")} | {0.0})
    except ValueError as error:
        raise _misread(
            f"--doses {text!r}", "numbers between commas", f"e.g. --doses {DOSES}"
        ) from error
    finite = all(abs(amount) < float("inf") for amount in amounts)
    if not finite or not 1 < len(amounts) <= MOST_DOSES:
        raise _misread(
            f"--doses {text!r}",
            f"at least one number beside 0, and at most {MOST_DOSES}",
            f"e.g. --doses {DOSES}",
        )
    return tuple(amounts)


def _prompts(
    path: Path | None, dimension: str, limit: int, seed: int
) -> tuple[list[SteeredPrompt], list[SteeredPrompt]]:
    """Prompts whose next token is looked at, and prompts of both classes."""
    from emo_harness.probe.corpus import load_corpus
    from emo_harness.steer.prompts import prompts_of_corpus, read_prompts

    own = read_prompts(path) if path else []
    poles = {one.pole for one in own}
    if {1, -1} <= poles:
        return own, own
    if poles & {1, -1}:
        raise UserError(
            f"reading the prompts {path}",
            found="prompts of one class",
            expected="the classes positive and negative, or none",
            fix='add prompts with the other "class"',
        )
    corpus = load_corpus()
    if own and dimension not in corpus.dimensions:
        return own[:limit], own[:limit]
    shipped = prompts_of_corpus(corpus.prompts(), dimension, limit, seed)
    return own[:limit] or shipped, shipped


def _lexicon(path: Path, dimension: str) -> dict[str, float]:
    from emo_harness.probe.corpus.norms import load_norms

    norms = load_norms(path, dimension)
    words = list(norms.values)
    signed = norms.signed(words).tolist()
    return {word.lower(): value for word, value in zip(words, signed, strict=True)}


def _remarks(words: FirstTokens) -> list[str]:
    if not words.left_out:
        return []
    return [
        f"{len(words.left_out)} outcome words begin with a token that begins words of both sets, "
        f"or with none of their own: {len(words.positive)} positive and {len(words.negative)} "
        "negative tokens are left"
    ]


def _told(
    loaded: LoadedModel,
    axes: Path,
    steering: Steering,
    settings: Settings,
    words: FirstTokens,
    summary: Summary,
    remarks: Sequence[str],
) -> dict[str, Any]:
    from emo_harness.command_line import command_line
    from emo_harness.model_identity import content_id

    of_one_dose = ("dose", "text", "id")
    steered = {key: one for key, one in steering.as_json().items() if key not in of_one_dose}
    decode = loaded.tokenizer.decode
    return {
        "command": command_line(),
        "model": loaded.facts.model_dump(),
        "axes": {"file": str(axes), "sha256": content_id(axes)},
        "steering": {**steered, "doses": list(settings.doses)},
        "distances": settings.axis.distances.tolist(),
        "seed": settings.seed,
        "n_prompts": summary.axis.slope.n_clusters,
        "words": {
            "positive": [decode([token]) for token in words.positive],
            "negative": [decode([token]) for token in words.negative],
            "shared": list(words.shared),
            "left_out": list(words.left_out),
        },
        "zero_dose_equals_unsteered": True,
        **summary.as_json(),
        "remarks": list(remarks),
    }


def _write(
    out: Path, told: dict[str, Any], measured: Any, summary: Summary, title: str
) -> list[Path]:
    from emo_harness.steer.figure import dose_curves
    from emo_harness.steer.result import write_result

    return write_result(out, NAME, told, measured, dose_curves(summary, title))


def _named(steering: Steering) -> str:
    return str(steering).replace("+1 ", "", 1)


def _print(
    told: dict[str, Any],
    summary: Summary,
    remarks: Sequence[str],
    files: Sequence[Path],
    as_json: bool,
) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.steer.result import as_text

    if as_json:
        typer.echo(as_text(told))
        return
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
    where = console()
    lines = [(cells, False) for cells in _rows(summary)]
    print_table(where, f"{summary.axis.name}, by dose", COLUMNS, lines, [])
    where.print(READING, markup=False)
    for verdict in summary.verdicts:
        where.print(verdict, style="bold", markup=False, highlight=False)
    typer.echo("\n".join(f"wrote {path}" for path in files))


def _rows(summary: Summary) -> list[list[str]]:
    found = []
    for place, point in enumerate(summary.axis.curve):
        others = [one.curve[place] for one in summary.controls]
        odds = [one.change.value for one in others]
        ratios = [one.perplexity_ratio for one in others]
        change = point.change
        found.append(
            [
                f"{point.dose:+g}" if point.dose else "0",
                f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
                f"{min(odds):+.3f} to {max(odds):+.3f}",
                f"{point.kl_nats:.4f}",
                f"{point.positive:+.4f}",
                f"{point.negative:+.4f}",
                f"{point.perplexity_ratio:.3f}",
                f"{min(ratios):.3f} to {max(ratios):.3f}",
            ]
        )
    return found


def _misread(found: str, expected: str, fix: str) -> UserError:
    return UserError(DOING, found=found, expected=expected, fix=fix)
