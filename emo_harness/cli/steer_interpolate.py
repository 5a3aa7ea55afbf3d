"""`emo steer interpolate`: turn one prompt's cache into another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from emo_harness.errors import UserError

NAME = "interpolate"
EXAMPLE = (
    'Example: emo steer interpolate --model ORG/MODEL --from "Bob was extremely sad, therefore '
    'Bob" --to "Bob was extremely happy, therefore Bob" --out mixed/'
)
COLUMNS = ("share of --to", "continuations of --from", "continuations of --to")


def command(
    model: str = typer.Option(..., "--model", help="A folder, or a repository on the hub."),
    start: str = typer.Option(..., "--from", help="A prompt."),
    end: str = typer.Option(..., "--to", help="Another, with equally many tokens."),
    steps: int = typer.Option(25, "--steps", min=2, max=1001),
    values_only: bool = typer.Option(False, "--values-only", help="Leave the keys as they are."),
    last_value: bool = typer.Option(
        False, "--last-value", help="Mix the values of the last token alone."
    ),
    continuations: int = typer.Option(50, "--continuations", min=2, help="Of either prompt."),
    max_tokens: int = typer.Option(20, "--max-tokens", min=2, help="Of a continuation."),
    seed: int = typer.Option(0, "--seed", min=0),
    revision: str = typer.Option(None, "--revision", help="Of the model on the hub."),
    dtype: str = typer.Option("float32", "--dtype", help="float32, bfloat16, float16 or auto."),
    device: str = typer.Option(None, "--device", help="cuda where there is one, else cpu."),
    out: Path = typer.Option(..., "--out", help="Where interpolate.json, .parquet and .svg go."),
    as_json: bool = typer.Option(False, "--json", help="Print the results as JSON, no table."),
) -> None:
    """Mix the caches of two prompts, and score what the model writes after either."""
    if values_only and last_value:
        raise UserError(
            "reading the arguments of emo steer interpolate",
            found="--values-only and --last-value",
            expected="one of them at most",
            fix="--last-value mixes values alone",
        )
    from tqdm import tqdm

    from emo_harness.activations.loading import load_language_model
    from emo_harness.command_line import command_line
    from emo_harness.steer.figure import interpolation_curves
    from emo_harness.steer.interpolation import Mixed, interpolate, summarise_interpolation
    from emo_harness.steer.result import as_text, write_result

    mixed: Mixed = "last value" if last_value else "values" if values_only else "keys and values"
    loaded = load_language_model(model, revision=revision, dtype=dtype, device=device)  # type: ignore[arg-type]
    with tqdm(desc="interpolating", unit="seq", disable=as_json or None) as bar:
        bar.total = 2 * continuations * steps
        found = interpolate(
            loaded,
            (start, end),
            n_steps=steps,
            n_continuations=continuations,
            max_tokens=max_tokens,
            mixed=mixed,
            seed=seed,
            advance=bar.update,
        )
    summary = summarise_interpolation(found)
    told = {
        "command": command_line(),
        "model": loaded.facts.model_dump(),
        "from": start,
        "to": end,
        "mixed": mixed,
        "seed": seed,
        "summary": summary,
        "texts": {"from": found.texts[0], "to": found.texts[1]},
    }
    title = f"{Path(model).name}: {mixed}, from {start!r} to {end!r}"
    files = write_result(out, NAME, told, _table(found), interpolation_curves(summary, title))
    if as_json:
        typer.echo(as_text(told))
        return
    _print(summary)
    typer.echo("\n".join(f"wrote {path}" for path in files))


def _table(found: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(
        [
            {"continuation_of": of, "item": item, "share": share, "log_probability": value}
            for of, values in (("from", found.first), ("to", found.second))
            for item, row in enumerate(values.tolist())
            for share, value in zip(found.shares.tolist(), row, strict=True)
        ]
    )


def _print(summary: Any) -> None:
    from emo_harness.cli.tables import console, print_table

    where = console()
    lines = [
        (
            [f"{share:.3g}", *(f"{e.value:.4f} [{e.low:.4f}, {e.high:.4f}]" for e in (a, b))],
            False,
        )
        for share, a, b in zip(summary.shares, summary.first, summary.second, strict=True)
    ]
    print_table(where, "log-probability, nats per token", COLUMNS, lines, [])
    test = summary.interaction
    told = f"slopes {summary.slope_first.value:+.4f} and {summary.slope_second.value:+.4f}"
    where.print(
        f"{told}; they part by {test.value:+.4f} [{test.low:+.4f}, {test.high:+.4f}], "
        f"p = {test.p:.3g}",
        style="bold",
        markup=False,
        highlight=False,
    )
    if summary.crossing is not None:
        where.print(f"the curves cross at a share of {summary.crossing:.2f}", markup=False)
