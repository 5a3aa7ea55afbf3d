"""Closing answer sets: multiple choice from questions whose answers are written out."""

from __future__ import annotations

import logging

from datasets import Dataset

from emo_harness.benchmarks import AnswerOptions
from emo_harness.errors import UserError

log = logging.getLogger(__name__)


def closed_answer_sets(questions: Dataset, task: str) -> tuple[Dataset, AnswerOptions]:
    """The questions whose target is among their options, and what tells a question's options.

    Args:
        task: its name, for messages.

    Raises:
        UserError: no question has its target among its options.
    """
    options = AnswerOptions(list(questions))
    kept = [i for i, doc in enumerate(questions) if doc["target"] in options(doc)]
    n_dropped = len(questions) - len(kept)
    if n_dropped:
        log.warning(
            "%s: %d of %d questions dropped, their target is not among their options",
            task,
            n_dropped,
            len(questions),
        )
    if not kept:
        raise UserError(
            f"closing the answer sets of {task}",
            found=f"{len(questions)} questions, none with its target among its options",
            expected="questions whose target is one of the options they list",
            fix="check the targets of your data, or ask the task without mc",
        )
    return questions.select(kept), options
