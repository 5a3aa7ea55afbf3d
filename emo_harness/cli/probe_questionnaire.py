"""`emo probe questionnaire`: system prompts characterised by a model's answers under each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from emo_harness.probe.questionnaire.asked import Question, SystemPrompt
    from emo_harness.probe.questionnaire.result import QuestionnaireResult

NAME = "questionnaire"
EXAMPLE = (
    "Example: emo probe questionnaire --prompts prompts.jsonl --questions questions.jsonl "
    "--model ORG/MODEL --out questionnaire/"
)


def command(
    prompts: Path = typer.Option(..., help="System prompts: JSON lines of id, prompt, tag."),
    questions: Path | None = typer.Option(
        None, help="Questions: JSON lines of id, question, answers (the most positive first)."
    ),
    model: str | None = typer.Option(None, help="Model: a hub id or a local folder."),
    losses: Path | None = typer.Option(
        None, help="Instead of a model: losses kept as JSON, by prompt, question and answer."
    ),
    score: str = typer.Option(
        "mean", help="mean (per token), sum, or pmi (against no system prompt)."
    ),
    mode: str = typer.Option("answers", help="answers (their text) or letters (A, B, ...)."),
    orders: int = typer.Option(
        1, min=1, help="Mode letters: so many orders of the answers, averaged."
    ),
    chat: bool = typer.Option(False, help="Use the tokenizer's chat template."),
    device: str | None = typer.Option(None, help="cpu, cuda, ...; what is there by default."),
    model_args: str = typer.Option("", help="Further arguments of emo-hf, as in emo run."),
    seed: int = typer.Option(0, help="Of drawn orders and permutation tests."),
    out: Path | None = typer.Option(None, help="Folder for the numbers and the figure."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask a questionnaire under many system prompts, and see what tells the prompts apart.

    With --losses no model is asked: numbers kept from elsewhere are read instead.
    """
    import numpy as np

    from emo_harness.probe.questionnaire.asked import MODES, load_prompts, load_questions
    from emo_harness.probe.questionnaire.losses import SCORES, read_losses
    from emo_harness.probe.questionnaire.result import result_of

    _require("score", score, SCORES)
    _require("mode", mode, MODES)
    if (model is None) == (losses is None):
        raise UserError(
            "choosing where losses come from",
            found="both --model and --losses" if model else "neither --model nor --losses",
            expected="one of them",
            fix="--model ORG/MODEL asks a model, --losses FILE reads what was kept",
        )
    rng = np.random.default_rng(seed)
    told_prompts = load_prompts(prompts)
    asked_questions = load_questions(questions) if questions else None
    table, sensitivity = None, None
    if losses is not None:
        found = read_losses(losses, told_prompts, asked_questions)
        how: dict[str, object] = {"losses": str(losses), "score": "mean"}
    else:
        if asked_questions is None:
            raise UserError(
                "asking a questionnaire",
                found="no --questions",
                expected="a file of questions",
                fix="--questions FILE.jsonl",
            )
        table, found, sensitivity = _ask(
            model, device, model_args, told_prompts, asked_questions, mode, orders, chat, score, rng
        )
        how = {"model": str(model), "score": score, "mode": mode, "chat": chat, "orders": orders}
    result = result_of(told_prompts, found, how, rng, sensitivity)
    if out is not None:
        _write(out, result, table)
    if as_json:
        import json

        from emo_harness.cli.as_json import known

        typer.echo(json.dumps(known(result.as_json())))
        return
    typer.echo(result.in_words())
    if out is not None:
        typer.echo(f"written: {out}")


def _ask(
    model: str | None,
    device: str | None,
    model_args: str,
    prompts: list[SystemPrompt],
    questions: list[Question],
    mode: Any,
    orders: int,
    chat: bool,
    score: Any,
    rng: Any,
) -> tuple[Any, Any, float | None]:
    import torch
    from lm_eval.utils import simple_parse_args_string

    from emo_harness.lm_models.shared_prefix import SharedPrefixLM
    from emo_harness.probe.questionnaire.asked import Rendering, asked_of
    from emo_harness.probe.questionnaire.losses import ask, losses, order_sensitivity

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    arguments = simple_parse_args_string(model_args)
    lm = SharedPrefixLM(pretrained=model, **{"device": chosen, **arguments})
    if chat and not lm.tokenizer.chat_template:
        raise UserError(
            "asking a questionnaire with a chat template",
            found=f"no chat template in the tokenizer of {model}",
            expected="a model that was made for conversations",
            fix="leave --chat out: prompt and question then simply follow each other",
        )
    rendering = Rendering(lm.apply_chat_template if chat else None)
    asked, _ = asked_of(
        prompts, questions, mode=mode, n_orders=orders, rendering=rendering, rng=rng
    )
    table = ask(lm, asked)
    is_letters = mode == "letters"
    sensitivity = order_sensitivity(table) if is_letters else None
    return table, losses(table, score, is_letters=is_letters), sensitivity


def _write(out: Path, result: QuestionnaireResult, table: pd.DataFrame | None) -> None:
    import json

    from emo_harness.cli.as_json import known
    from emo_harness.report.figures.tagged_scatter import tagged_scatter
    from emo_harness.whole_file import Writer, text_writer, write_folder

    tags = [prompt.tag for prompt in result.prompts]
    share = [f"{100 * explained:.0f}%" for explained in result.explained[:2]]
    writers: dict[str, Writer] = {
        "questionnaire.json": text_writer(json.dumps(known(result.as_json()), indent=1))
    }
    if result.components.shape[1] > 1:
        drawing = tagged_scatter(
            result.components[:, :2],
            tags,
            (f"first component ({share[0]})", f"second component ({share[1]})"),
            "questionnaire",
            "System prompts by a model's answers",
            result.in_words(),
        )
        writers["components.svg"] = text_writer(drawing.file)
    if table is not None:
        writers["losses.parquet"] = lambda path: table.to_parquet(path, index=False)
    write_folder(out, writers, "writing what the questionnaire tells")


def _require(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(
            f"reading --{name}",
            found=value,
            expected=" or ".join(known),
            fix=f"--{name} {known[0]}",
        )
