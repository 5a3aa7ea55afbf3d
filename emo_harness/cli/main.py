"""`emo`: the entry point, which catches user mistakes once."""

from __future__ import annotations

import sys

import typer

from emo_harness import __version__
from emo_harness.cli import (
    attribute,
    calibrate,
    compare,
    decode,
    images,
    probe,
    report,
    run,
    steer,
    stimuli,
    tasks,
)
from emo_harness.errors import EXIT_CODE, UserError

app = typer.Typer(
    name="emo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Does an emotional stimulus change what a language model can do? An extension of "
    "lm-evaluation-harness.",
    epilog="Example: emo run --model emo-demo --tasks emo_calibration_attack --limit 50 "
    "--log_samples --output_path runs/ && emo report runs/ --out report/",
)
app.command(
    "run",
    help=run.HELP,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(run.run)
app.command("report", epilog=report.EXAMPLE)(report.report)
app.command("compare", epilog=compare.EXAMPLE)(compare.compare)
app.command("calibrate", epilog=calibrate.EXAMPLE)(calibrate.calibrate)
app.command("decode", epilog=decode.EXAMPLE)(decode.decode)
app.command("attribute", epilog=attribute.EXAMPLE)(attribute.attribute)
app.add_typer(images.app, name="images")
app.add_typer(steer.app, name="steer")
app.add_typer(probe.app, name="probe")
app.add_typer(stimuli.app, name="stimuli")
app.add_typer(tasks.app, name="tasks")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Emotional stimuli for language models, measured with controls."""


def main() -> None:
    """Run `emo`; a user's mistake is told in one block and exit code 2."""
    try:
        app()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CODE)
