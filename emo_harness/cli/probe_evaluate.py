"""`emo probe evaluate`: how well a probe reads a store, and what would have read it as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emo_harness.cli.layers import layers_of
from emo_harness.errors import UserError, nearest

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations
    from emo_harness.probe.evaluation import Evaluation

NAME = "evaluate"
EXAMPLE = (
    "Examples: emo probe evaluate store/ --out evaluation/; "
    "emo probe evaluate store/ --protocol emo-llm --dimension valence --seeds 5 --out table/"
)
PROTOCOLS = ("strict", "emo-llm")
MOST_SEEDS = 1000
GROUP = "lemma,shape"


def command(
    store: Path = typer.Argument(..., help="Activations that `emo probe capture` wrote."),
    out: Path = typer.Option(..., "--out", help="Folder for evaluation.json and results.parquet."),
    dimension: list[str] = typer.Option(
        [], "--dimension", help="valence, arousal, ...; may be repeated. All by default."
    ),
    protocol: str = typer.Option(
        "strict", "--protocol", help="strict, or emo-llm: the seed's own procedure."
    ),
    site: str = typer.Option("value", "--site", help="Where activations were read."),
    seeds: int = typer.Option(10, "--seeds", help="How many random divisions."),
    group: str = typer.Option(
        GROUP,
        "--group",
        help="What is held out together: adjective or lemma, and template, scenario or shape.",
    ),
    layers: str = typer.Option("", "--layers", help="Layers, e.g. 0,4,8 or 0-11. All by default."),
    norms: Path | None = typer.Option(
        None, "--norms", help="CSV of human norms: ridge regression on them as well."
    ),
    full: bool = typer.Option(
        False, "--full", help="Logistic controls, and logistic fits per layer; says how long first."
    ),
    logistic: bool = typer.Option(
        True, "--logistic/--no-logistic", help="Fit logistic regressions (the slowest part)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print everything as JSON, no table."),
) -> None:
    """Ask probes for words and templates that they have not seen, beside controls.

    E1: unseen words; E2: unseen templates; E3: unseen combinations; E4: both unseen. Intervals are
    clustered by word and template.
    """
    if protocol not in PROTOCOLS:
        raise UserError(
            "reading --protocol",
            found=protocol + nearest(protocol, PROTOCOLS),
            expected=" or ".join(PROTOCOLS),
            fix="name one of the two",
        )
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(
            "reading --seeds",
            found=str(seeds),
            expected=f"from 1 to {MOST_SEEDS}",
            fix="10 are usual",
        )
    from emo_harness.activations.store import open_activations
    from emo_harness.probe.evaluation import check_out

    if protocol == "emo-llm":
        _refuse_strict_options(group, layers, norms, full, logistic)
    check_out(out)
    opened = open_activations(store)
    opened.verify()
    if protocol == "emo-llm":
        _emo_llm(opened, dimension, site, seeds, out, as_json)
        return
    _strict(opened, dimension, site, seeds, group, layers, norms, full, logistic, out, as_json)


def _refuse_strict_options(
    group: str, layers: str, norms: Path | None, full: bool, logistic: bool
) -> None:
    given = {
        "--group": group != GROUP,
        "--layers": bool(layers),
        "--norms": norms is not None,
        "--full": full,
        "--no-logistic": not logistic,
    }
    for option, there in given.items():
        if there:
            raise UserError(
                "reading the options of --protocol emo-llm",
                found=option,
                expected="the seed's own procedure, which has no such option",
                fix=f"leave {option} away, or use --protocol strict",
            )


def _strict(
    store: Activations,
    dimensions: list[str],
    site: str,
    seeds: int,
    group: str,
    layers: str,
    norms: Path | None,
    full: bool,
    logistic: bool,
    out: Path,
    as_json: bool,
) -> None:
    from tqdm import tqdm

    from emo_harness.probe.evaluation import write_evaluation
    from emo_harness.probe.strict.all_dimensions import strict_evaluation
    from emo_harness.probe.strict.splits import parse_group
    from emo_harness.probe.targets import dimensions_of

    names = dimensions_of(store, dimensions or None)
    with tqdm(
        total=100 * len(names), bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"
    ) as bar:

        def tell(what: str, share: float) -> None:
            if what.startswith("--full"):
                bar.write(what)
                return
            bar.set_description_str(what, refresh=False)
            bar.update(min(100 * share, bar.total - bar.n))

        made = strict_evaluation(
            store,
            names,
            site=site,
            seeds=seeds,
            group=parse_group(group),
            layers=layers_of(layers),
            norms=norms,
            full=full,
            logistic=logistic,
            tell=tell,
        )
    files = write_evaluation(made, out)
    if as_json:
        typer.echo(json.dumps(made.as_json(), ensure_ascii=False, allow_nan=False))
        return
    _print(made)
    typer.echo("\n".join(f"wrote {path}" for path in files))


def _print(made: Evaluation) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.probe.strict.evaluation_text import conclusions, tables
    from emo_harness.report.plain_text import visible

    where = console()
    for table in tables(made):
        print_table(where, table.title, table.columns, table.rows, table.notes)
    for line in conclusions(made):
        where.print(visible(line), markup=False, highlight=False)
    for remark in made.remarks:
        where.print(visible(f"note: {remark}"), markup=False, highlight=False)


def _emo_llm(
    store: Activations, dimensions: list[str], site: str, seeds: int, out: Path, as_json: bool
) -> None:
    """Each dimension in `out`, or in a folder of its name there where there are several."""
    from emo_harness.probe.emo_llm.protocol import SITE, evaluate_emo_llm
    from emo_harness.probe.targets import dimensions_of

    if site != SITE:
        raise UserError(
            "reading --site",
            found=site,
            expected=f"{SITE}, which --protocol emo-llm reads",
            fix="leave --site away, or use --protocol strict",
        )
    names = dimensions_of(store, dimensions or None)
    made = [
        evaluate_emo_llm(store, name, seeds=seeds, out=out if len(names) == 1 else out / name)
        for name in names
    ]
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in made], ensure_ascii=False))
        return
    for one in made:
        _print(one)
    typer.echo(f"wrote {out}")
