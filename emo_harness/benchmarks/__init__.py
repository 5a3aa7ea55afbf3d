"""Benchmarks: where each one's questions come from."""

from __future__ import annotations

from emo_harness.benchmarks import bbh, bbh_mini, calibration, mmmu
from emo_harness.benchmarks.answer_options import AnswerOptions
from emo_harness.benchmarks.source import Questions, Source, rows_sha256

__all__ = ["AnswerOptions", "Questions", "Source", "questions"]

DEFAULT_CALIBRATION_QUESTIONS = 500


def questions(
    benchmark: str,
    subtask: str | None,
    *,
    data_dir: str | None = None,
    n_questions: int | None = None,
    seed: int | None = None,
) -> Questions:
    """The questions of one subtask.

    One run may ask several benchmarks with one set of options, so each takes what concerns it.

    Args:
        data_dir: folder of published files, for benchmarks that have such files (bbh, mmmu_val).
        n_questions: how many to generate, for generated benchmarks (calibration).
        seed: of the generator, for generated benchmarks.

    Raises:
        UserError: questions that cannot be had from where the user said.
    """
    if benchmark == "calibration":
        return _calibration(n_questions or DEFAULT_CALIBRATION_QUESTIONS, seed)
    if subtask is None:
        raise ValueError(f"benchmark {benchmark!r} has subtasks; none was named")
    if benchmark == "bbh_mini":
        return bbh_mini.questions(subtask)
    if benchmark == "mmmu_val":
        return mmmu.questions(subtask, data_dir)
    return bbh.questions(subtask, data_dir)


def _calibration(n_questions: int, seed: int | None) -> Questions:
    seed = calibration.DEFAULT_SEED if seed is None else seed
    rows = calibration.calibration_questions(n_questions, seed=seed)
    place = f"seed {seed}, questions 0 to {n_questions - 1}"
    return Questions(Source("generated", place, rows_sha256(rows)), rows)
