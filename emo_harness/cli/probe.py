"""`emo probe`: valence and arousal inside a model, one module per command."""

from __future__ import annotations

import typer

from emo_harness.cli import (
    probe_apply,
    probe_capture,
    probe_corpus,
    probe_emo_llm,
    probe_evaluate,
    probe_fit,
    probe_plot,
    probe_questionnaire,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Valence and arousal inside a model: capture, fit, evaluate, apply.",
    epilog="Example: emo probe capture --model emo-feelings --out store/ && emo probe evaluate "
    "store/ --out evaluation/",
)
for module in (
    probe_corpus,
    probe_capture,
    probe_evaluate,
    probe_fit,
    probe_plot,
    probe_apply,
    probe_emo_llm,
    probe_questionnaire,
):
    app.command(module.NAME, epilog=module.EXAMPLE)(module.command)
