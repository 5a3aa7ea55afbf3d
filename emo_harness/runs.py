"""Run folders: what lm-eval wrote, read back as one score per question and arm.

A run folder holds `results_<date>.json` and one `samples_<task>_<date>.jsonl` per task, directly
or in a subfolder per model. Sample files are read line by line, never held whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.prompt_tokens import PromptLimit, PromptTokens

METADATA_KEY = "emo"
RECORD_SCHEMA = 1
_RECORD_KEYS = (
    "benchmark",
    "subtask",
    "mode",
    "family",
    "metric",
    "filter",
    "placement",
    "stimuli_sha256",
    "arms",
)
_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+\w?)\.json$")


@dataclass(frozen=True)
class RunArm:
    """One arm as the run recorded it.

    Attributes:
        id: arm id; "control" is the untouched prompt.
        kind: `control`, `placebo` or `stimulus`.
        family: the stimulus's family, "control" for control.
        placebo: kind of placebo, None for the others.
        text: the stimulus, "" for control.
    """

    id: str
    kind: str
    family: str
    placebo: str | None
    text: str


@dataclass(frozen=True)
class ArmScores:
    """The scores of one subtask under one metric and filter.

    Attributes:
        model: short name of the model.
        benchmark, subtask, mode, family, placement: as declared and selected.
        metric, filter: lm-eval's names.
        primary: whether these are the metric and filter that the benchmark is reported by.
        limited: whether the run asked only a part of the questions (`--limit`, `--samples`).
        settings: how the model was run, "name=value" by name: model arguments, generation
            arguments, system instruction, chat template, number of worked examples.
        arms: in the run's order.
        questions: (n_questions,) lm-eval's `doc_hash` of each question.
        scores: (n_questions, n_arms) float64, 1.0 is right.
        unparsed: (n_questions, n_arms) bool, the filter found no answer.
        truncated: (n_questions, n_arms) bool, the prompt did not fit; None where unknown.
    """

    model: str
    benchmark: str
    subtask: str
    mode: str
    family: str
    placement: str
    metric: str
    filter: str
    primary: bool
    limited: bool
    settings: dict[str, str]
    stimuli_sha256: str
    arms: tuple[RunArm, ...]
    questions: tuple[str, ...]
    scores: NDArray[np.float64]
    unparsed: NDArray[np.bool_]
    truncated: NDArray[np.bool_] | None


@dataclass(frozen=True)
class RunTask:
    """One of our tasks in one results file, before its samples are read."""

    model: str
    results_file: Path
    samples_file: Path
    task: str
    date: str
    record: dict[str, Any]
    n_questions: int
    limited: bool
    settings: dict[str, str]
    limit: PromptLimit | None

    @property
    def arms(self) -> tuple[RunArm, ...]:
        return tuple(_arm(raw) for raw in self.record["arms"])


def find_tasks(folders: Iterable[Path]) -> list[RunTask]:
    """Every task of ours in the run folders.

    A task that was run again with the same model, settings and stimuli counts once: the run with
    the most questions, the newest of equals. `repeated_runs` tells which were left out.

    Raises:
        UserError: a folder is missing, holds no results, none of ours, or results without samples.
    """
    return [runs[-1] for runs in _repeats(folders).values()]


def repeated_runs(folders: Iterable[Path]) -> list[RunTask]:
    """The runs that `find_tasks` leaves out because another one asked the same."""
    return [task for runs in _repeats(folders).values() for task in runs[:-1]]


def _repeats(folders: Iterable[Path]) -> dict[tuple[str, ...], list[RunTask]]:
    """Runs that asked the same, the one that counts last."""
    files = {path.resolve(): path for folder in folders for path in _results_files(folder)}
    found = [task for path in files.values() for task in _tasks_of_file(path)]
    repeats: dict[tuple[str, ...], list[RunTask]] = {}
    for task in sorted(found, key=lambda t: (t.n_questions, t.date)):
        record = task.record
        settings = json.dumps(task.settings, sort_keys=True)
        key = (task.model, settings, task.task, record["placement"], record["stimuli_sha256"])
        repeats.setdefault(key, []).append(task)
    return repeats


def read_scores(run_task: RunTask, count_tokens: bool = True) -> list[ArmScores]:
    """Read a task's samples: one `ArmScores` per metric and filter.

    Args:
        count_tokens: look for truncated prompts where the run's tokenizer is at hand.

    Raises:
        UserError: a broken line, an arm missing from a question, or samples without scores.
    """
    tokens = PromptTokens.for_limit(run_task.limit) if count_tokens else None
    readings: dict[tuple[str, str], _Reading] = {}
    arm_ids = [arm.id for arm in run_task.arms]
    for number, sample in _samples(run_task.samples_file):
        where = f"reading the samples {run_task.samples_file.name}, line {number}"
        try:
            for key in [key for key in sample if key.endswith("_by_arm")]:
                slot = (key.removesuffix("_by_arm"), sample["filter"])
                readings.setdefault(slot, _Reading()).add(sample, key, arm_ids, where)
            first = next(iter(readings.values()), None)
            if tokens and first and len(first.truncated) < len(first.questions):
                first.truncated.append(tokens.truncated(sample["arguments"], len(arm_ids)))
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise UserError(
                where,
                found=f"a sample with a missing or odd value ({error!r})",
                expected="a sample as our tasks log it",
                fix="run the task again",
            ) from error
    if not readings:
        raise UserError(
            f"reading the samples {run_task.samples_file.name}",
            found="no scores by arm (was it a --predict_only run?)",
            expected="samples with <metric>_by_arm",
            fix="run the task again without --predict_only",
        )
    for (metric, filter_name), reading in readings.items():
        if len(reading.questions) != run_task.n_questions:
            raise UserError(
                f"reading the samples {run_task.samples_file.name} ({metric}, {filter_name})",
                found=f"{len(reading.questions)} questions",
                expected=f"the {run_task.n_questions} that {run_task.results_file.name} tells of",
                fix="lines are missing or doubled; run the task again",
            )
    truncated = next(iter(readings.values())).truncated if tokens else None
    return [_arm_scores(run_task, *slot, reading, truncated) for slot, reading in readings.items()]


class _Reading:
    """What has been read of one metric and filter."""

    def __init__(self) -> None:
        self._doc_ids: set[int] = set()
        self.questions: list[str] = []
        self.scores: list[list[float]] = []
        self.unparsed: list[list[bool]] = []
        self.truncated: list[list[bool]] = []

    def add(self, sample: dict[str, Any], key: str, arm_ids: Sequence[str], where: str) -> None:
        missing = [a for a in arm_ids if a not in sample[key] or a not in sample["unparsed"]]
        if missing:
            raise UserError(
                where,
                found=f"no score for {quoted(missing)}",
                expected="a score for every arm of the run",
                fix="results and samples are not of one run; run the task again",
            )
        if sample["doc_id"] in self._doc_ids:
            raise UserError(
                where,
                found=f"question {sample['doc_id']} a second time",
                expected="every question once per filter",
                fix="samples of several runs were put into one file; run the task again",
            )
        self._doc_ids.add(sample["doc_id"])
        self.questions.append(sample["doc_hash"])
        self.scores.append([float(sample[key][a]) for a in arm_ids])
        self.unparsed.append([bool(sample["unparsed"][a]) for a in arm_ids])


def _arm_scores(
    run_task: RunTask,
    metric: str,
    filter_name: str,
    reading: _Reading,
    truncated: list[list[bool]] | None,
) -> ArmScores:
    record = run_task.record
    return ArmScores(
        model=run_task.model,
        benchmark=record["benchmark"],
        subtask=record["subtask"] or record["benchmark"],
        mode=record["mode"],
        family=record["family"],
        placement=record["placement"],
        metric=metric,
        filter=filter_name,
        primary=(metric, filter_name) == (record["metric"], record["filter"]),
        limited=run_task.limited,
        settings=run_task.settings,
        stimuli_sha256=record["stimuli_sha256"],
        arms=run_task.arms,
        questions=tuple(reading.questions),
        scores=np.array(reading.scores, dtype=np.float64),
        unparsed=np.array(reading.unparsed, dtype=bool),
        truncated=np.array(truncated, dtype=bool) if truncated else None,
    )


def _results_files(folder: Path) -> list[Path]:
    """The results files below a folder; a file named directly is its own.

    With `--output_path x.json` lm-eval writes `x_<date>.json` in place of `results_<date>.json`.
    """
    doing = f"reading the run folder {folder}"
    if not folder.exists():
        raise UserError(
            doing,
            found="no such folder",
            expected="a folder that lm_eval wrote with --output_path and --log_samples",
            fix="check the path",
        )
    if folder.is_file():
        return [folder]
    files = [p for p in sorted(folder.rglob("*.json")) if _DATE.search(p.name)]
    foreign: list[str] = []
    for path in files:
        records = _records(path)
        if any(records.values()):
            return files
        foreign += records
    raise UserError(
        doing,
        found=f"only other tasks ({quoted(foreign, 3)})" if foreign else "no results_*.json",
        expected="results of a task of ours, such as emo_bbh_attack",
        fix=f"run `lm_eval --tasks emo_bbh_attack ... --log_samples --output_path {folder}` first",
    )


def _tasks_of_file(path: Path) -> list[RunTask]:
    results = _read_results(path)
    return [
        _run_task(path, results, task, record) for task, record in _records(path).items() if record
    ]


def _records(path: Path) -> dict[str, dict[str, Any] | None]:
    """Every task of a results file with what our task recorded; None for others' tasks."""
    records: dict[str, dict[str, Any] | None] = {}
    for task, config in _read_results(path)["configs"].items():
        metadata = config.get("metadata") if isinstance(config, dict) else None
        record = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
        if isinstance(record, dict) and "arms" in record:
            records[task] = _checked(record, task, path)
        else:
            records[task] = None
    return records


def _checked(record: dict[str, Any], task: str, path: Path) -> dict[str, Any]:
    missing = [key for key in _RECORD_KEYS if key not in record]
    odd = record.get("schema") != RECORD_SCHEMA
    if missing or odd or not all(isinstance(a, dict) and "id" in a for a in record["arms"]):
        raise UserError(
            f"reading what {task} recorded in {path.name}",
            found=f"no {quoted(missing)}" if missing else f"schema {record.get('schema')!r}",
            expected=f"a record of schema {RECORD_SCHEMA}",
            fix="report with the version of emo-harness that made the run "
            f"({record.get('emo_harness', 'unknown')})",
        )
    return record


def _run_task(path: Path, results: dict[str, Any], task: str, record: dict[str, Any]) -> RunTask:
    match = _DATE.search(path.name)
    date = match.group(1) if match else ""
    samples = path.with_name(f"samples_{task}_{date}.jsonl")
    if not samples.is_file():
        raise UserError(
            f"reading the run of {task} in {path.parent}",
            found=f"{path.name} without {samples.name}",
            expected="one samples file per task beside the results",
            fix="run lm_eval with --log_samples",
        )
    counts = results.get("n-samples", {}).get(task, {})
    return RunTask(
        model=_model_name(results),
        results_file=path,
        samples_file=samples,
        task=task,
        date=date,
        record=record,
        n_questions=counts.get("effective", 0),
        limited=counts.get("effective") != counts.get("original"),
        settings=_settings(results, task),
        limit=PromptLimit.of_run(results.get("config", {}), results.get("max_length")),
    )


def _settings(results: dict[str, Any], task: str) -> dict[str, str]:
    """How the model was run, as far as it changes answers."""
    config = results.get("config", {})
    model_args = config.get("model_args")
    named = {
        **(model_args if isinstance(model_args, dict) else {"model_args": model_args}),
        **(config.get("gen_kwargs") or {}),
        "revision": config.get("model_sha") or config.get("model_revision"),
        "dtype": config.get("model_dtype"),
        "num_fewshot": results.get("n-shot", {}).get(task),
        "system_instruction": results.get("system_instruction"),
        "chat_template": (results.get("chat_template_sha") or "")[:12] or None,
        "fewshot_as_multiturn": results.get("fewshot_as_multiturn"),
    }
    return {key: str(value) for key, value in named.items() if value not in (None, "")}


def _model_name(results: dict[str, Any]) -> str:
    """The model's hub id; a local folder's own name."""
    name = str(results.get("model_name") or results.get("config", {}).get("model") or "unknown")
    return Path(name).name if name.startswith((".", "/", "~")) or name.count("/") > 1 else name


def _read_results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(results.get("configs"), dict):
            raise ValueError("no `configs`")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"reading the results {path}",
            found=f"{error}",
            expected="the JSON file that lm_eval writes",
            fix="remove the file or run again",
        ) from error
    return results


def _samples(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    n_lines = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            n_lines += 1
            try:
                sample = json.loads(line.decode("utf-8"))
                if not isinstance(sample, dict) or "filter" not in sample:
                    raise ValueError("no sample of lm_eval's")
            except (ValueError, RecursionError) as error:
                torn = "" if line.endswith(b"\n") else " (a torn last line: was the run killed?)"
                raise UserError(
                    f"reading the samples {path.name}, line {number}",
                    found=f"{str(error)[:80]}{torn}",
                    expected="one JSON object per line",
                    fix="run the task again; answers kept by --use_cache are not asked twice",
                ) from error
            yield number, sample
    if n_lines == 0:
        raise UserError(
            f"reading the samples {path.name}",
            found="an empty file",
            expected="one line per question",
            fix="run the task again",
        )


def _arm(raw: dict[str, Any]) -> RunArm:
    return RunArm(
        id=raw["id"],
        kind=raw["kind"],
        family=raw.get("family", raw["kind"]),
        placebo=raw.get("placebo"),
        text=raw.get("text", ""),
    )
