"""`emo calibrate`: the harness checks its intervals against a known truth."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from emo_harness.demo.coverage import Coverage

EXAMPLE = "Example: emo calibrate --draws 5000 --questions 200"


def calibrate(
    draws: int = typer.Option(5000, min=1, help="How many samples of questions are drawn."),
    questions: int = typer.Option(200, min=2, help="Questions per sample."),
    seed: int = typer.Option(0, min=0, help="Seed of the draws."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check that 95% intervals hold the embedded model's true gains in 93 to 97% of samples.

    In at least 93% where fewer than 10 questions of a sample change. The truth was measured on
    every stored calibration question. Exit code 1 if an interval fails.
    """
    import numpy as np

    from emo_harness.demo.coverage import ACCEPTED, coverage
    from emo_harness.demo.truth import read_truth
    from emo_harness.errors import UserError

    truth = read_truth()
    n_stored = len(truth.question_class)
    if questions > n_stored:
        raise UserError(
            "drawing samples of the stored questions",
            found=f"--questions {questions:,}",
            expected=f"at most the {n_stored:,} that are stored",
            fix="ask for fewer",
        )
    checked = coverage(truth, draws, questions, np.random.default_rng(seed))
    passed = all(c.passes for c in checked)
    if as_json:
        rows = [asdict(c) | {"passes": c.passes} for c in checked]
        typer.echo(json.dumps({"passed": passed, "n_stored": n_stored, "arms": rows}))
        raise typer.Exit(0 if passed else 1)
    widths = [max(len(x) for x in column) for column in zip(*_names(checked), strict=True)]
    typer.echo(f"{'family':{widths[0]}} {'stimulus':{widths[1]}} true gain pp  differing  covered")
    for c in checked:
        mark = "" if c.passes else "  FAILS"
        typer.echo(
            f"{c.family:{widths[0]}} {c.stimulus:{widths[1]}} {c.true_gain_pp:+12.2f} "
            f"{c.expected_differing:10.1f} {100 * c.covered:7.1f}%{mark}"
        )
    low, high = ACCEPTED
    typer.echo(
        f"{draws} draws of {questions} from {n_stored:,} questions. Accepted: {low:.0%} to "
        f"{high:.0%} where at least 10 questions differ, at least {low:.0%} elsewhere: "
        f"{'passed' if passed else 'FAILED'}"
    )
    raise typer.Exit(0 if passed else 1)


def _names(checked: list[Coverage]) -> list[tuple[str, str]]:
    return [("family", "stimulus"), *((c.family, c.stimulus) for c in checked)]
