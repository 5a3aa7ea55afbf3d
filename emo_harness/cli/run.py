"""`emo run`: lm-eval's run command with our tasks and models at hand."""

from __future__ import annotations

import typer

HELP = (
    "Run tasks; takes every flag of `lm_eval run` (--help shows them). Example: emo run --model "
    "hf --model_args pretrained=ORG/MODEL --tasks emo_bbh_attack --log_samples --output_path "
    "runs/. With --model emo-hf also --steer FILE:AXIS:DOSE[:layers=6-11][:positions=all]"
    "[:site=value], which adds a dose of an axis to the model's activations."
)


def run(context: typer.Context) -> None:
    """Pass everything on to lm-eval's own parser and runner."""
    if {"-h", "--help"} & set(context.args):
        typer.echo(HELP + "\n")
    from emo_harness.lm_tasks.host import run as run_lm_eval

    run_lm_eval(context.args)
