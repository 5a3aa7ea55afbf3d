"""Losses of a questionnaire: what a model thinks of every answer, under every system prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.probe.questionnaire.asked import Asked, Question, SystemPrompt

Score = Literal["mean", "sum", "pmi"]
SCORES: tuple[Score, ...] = ("mean", "sum", "pmi")
Floats = NDArray[np.float64]


def ask(lm: Any, asked: Sequence[Asked]) -> pd.DataFrame:
    """Score every answer.

    Args:
        lm: an lm-eval model, e.g. `SharedPrefixLM`, that computes what prompts share once.

    Returns:
        One row per element of `asked`: prompt, question, answer, order, log_probability (nats),
        n_tokens of the answer.

    Raises:
        UserError: a context does not fit the model's window.
    """
    from lm_eval.api.instance import Instance

    requests = [
        Instance(
            request_type="loglikelihood",
            doc={},
            arguments=(one.context, one.continuation),
            idx=one.answer,
            metadata=("questionnaire", one.question, 1),
        )
        for one in asked
    ]
    lengths = {pair: len(lm._encode_pair(*pair)[1]) for pair in {r.args for r in requests}}
    room = lm.max_length + 1
    longest = max(requests, key=lambda r: len(r.args[0]))
    n_tokens = sum(map(len, lm._encode_pair(*longest.args)))
    if n_tokens > room:
        raise UserError(
            "asking a questionnaire",
            found=f"a system prompt and question of {n_tokens:,} tokens",
            expected=f"at most {room:,}, the model's context window",
            fix="shorten the prompts, or take a model with a longer context",
        )
    answers = lm.loglikelihood(requests)
    return pd.DataFrame(
        {
            "prompt": [one.prompt for one in asked],
            "question": [one.question for one in asked],
            "answer": [one.answer for one in asked],
            "order": [one.order for one in asked],
            "log_probability": [float(log_probability) for log_probability, _ in answers],
            "n_tokens": [lengths[request.args] for request in requests],
        }
    )


def losses(table: pd.DataFrame, score: Score, *, is_letters: bool) -> list[list[Floats]]:
    """By prompt and question the losses of the answers, in nats.

    `mean` is per token of the answer, `sum` of the whole answer, `pmi` is
    log p(answer | question) - log p(answer | prompt, question): what the prompt takes from it.
    Letters are normalised over the letters of a question, and their probabilities averaged over
    the orders of the answers, so that a liking for a letter cancels out.

    Args:
        table: see `ask`; rows of prompt -1 are the baseline without a system prompt.
    """
    measured = table.assign(loss=-table.log_probability)
    if is_letters:
        measured = _of_letters(measured)
    elif score == "mean":
        measured["loss"] = measured.loss / measured.n_tokens
    by_prompt = {
        int(prompt): [
            of_question.sort_values("answer").loss.to_numpy(np.float64)
            for _, of_question in rows.groupby("question")
        ]
        for prompt, rows in measured.groupby("prompt")
    }
    baseline = by_prompt.pop(-1, None)
    if score == "pmi":
        if baseline is None:
            raise ValueError("no baseline without a system prompt")
        return [
            [one - base for one, base in zip(of_prompt, baseline, strict=True)]
            for of_prompt in by_prompt.values()
        ]
    return list(by_prompt.values())


def order_sensitivity(table: pd.DataFrame) -> float:
    """How much the order of listed answers matters: 0 not at all, 1 entirely; NaN for one order.

    The mean over prompts and questions of the total variation distance between the answers'
    probabilities under an order and their mean over all orders.
    """
    shares = _letter_shares(table[table.prompt >= 0])
    if table.order.nunique() < 2:
        return float("nan")
    keys = ["prompt", "question", "answer"]
    mean = shares.groupby(keys).share.transform("mean")
    distance = (shares.share - mean).abs()
    by_order = distance.groupby([shares[k] for k in ("prompt", "question", "order")]).sum() / 2
    return float(by_order.mean())


def read_losses(
    path: Path, prompts: Sequence[SystemPrompt], questions: Sequence[Question] | None = None
) -> list[list[Floats]]:
    """Losses that were kept: `{prompt id: {question id: {answer: {"loss": nats per token}}}}`.

    Raises:
        UserError: no such file, another layout, or a prompt that is not among `prompts`.
    """
    doing = f"reading losses from {path}"
    layout = 'an object {prompt id: {question id: {answer: {"loss": number}}}}'
    fix = "give the file of losses that belongs to these prompts"
    try:
        raw = json.loads(path.read_text("utf-8"))
        found = {
            str(prompt): {
                str(question): {str(a): float(one["loss"]) for a, one in answers.items()}
                for question, answers in of_prompt.items()
            }
            for prompt, of_prompt in raw.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        is_missing = isinstance(error, OSError)
        told = f"{error.strerror}" if isinstance(error, OSError) else "another layout"
        expected = "a JSON file" if is_missing else layout
        raise UserError(doing, found=told, expected=expected, fix=fix) from error
    missing = [str(one.id) for one in prompts if str(one.id) not in found]
    if missing:
        raise UserError(
            doing,
            found=f"no losses of the prompts {quoted(missing)}",
            expected="losses of every prompt",
            fix=fix,
        )
    # All prompts in the order of the first one's questions and answers.
    first = found[str(prompts[0].id)]
    wanted = {q: list(answers) for q, answers in first.items()}
    if questions is not None:
        wanted = {str(q.id): q.answers for q in questions}
    try:
        return [
            [np.array([found[str(p.id)][q][a] for a in answers]) for q, answers in wanted.items()]
            for p in prompts
        ]
    except KeyError as error:
        told = f"no loss of {error.args[0]!r} under some prompt"
        raise UserError(doing, found=told, expected="all alike", fix=fix) from error


def _of_letters(measured: pd.DataFrame) -> pd.DataFrame:
    keys = ["prompt", "question", "answer"]
    means = _letter_shares(measured).groupby(keys)["share"].mean().reset_index()
    means["loss"] = -np.log(np.maximum(means["share"], np.finfo(np.float64).tiny))
    return means


def _letter_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Each letter's probability among those listed, as a column `share`."""
    keys = ["prompt", "question", "order"]
    largest = table.groupby(keys)["log_probability"].transform("max")
    weighed = table.assign(weight=np.exp(table["log_probability"] - largest))
    total = weighed.groupby(keys)["weight"].transform("sum")
    return weighed.assign(share=weighed["weight"] / total)
