"""Results files: which tasks of ours a run folder holds, and how they were run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_harness.errors import UserError, quoted
from emo_harness.prompt_tokens import PromptLimit

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
    "source",
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
    """Every task of ours in the run folders, each counting once (see `find_with_repeats`)."""
    return find_with_repeats(folders)[0]


def find_with_repeats(folders: Iterable[Path]) -> tuple[list[RunTask], list[RunTask]]:
    """Every task of ours in the run folders, and the runs that are left out as repeats.

    Of runs of one task with the same model, settings, placement and stimuli, the one with the most
    questions counts, the newest of equals.

    Raises:
        UserError: a folder is missing, holds no results, none of ours, or results without samples.
    """
    tasks = {
        (task.results_file.resolve(), task.task): task
        for folder in folders
        for task in _tasks_of_folder(folder)
    }
    repeats: dict[tuple[str, ...], list[RunTask]] = {}
    for task in sorted(tasks.values(), key=lambda t: (t.n_questions, t.date)):
        record = task.record
        settings = json.dumps(task.settings, sort_keys=True)
        key = (task.model, settings, task.task, record["placement"], record["stimuli_sha256"])
        repeats.setdefault(key, []).append(task)
    for runs in repeats.values():
        _refuse_other_questions(runs)
    counting = [runs[-1] for runs in repeats.values()]
    left_out = [task for runs in repeats.values() for task in runs[:-1]]
    return counting, left_out


def _refuse_other_questions(runs: list[RunTask]) -> None:
    """Runs that differ only in the files their questions came from cannot stand for each other."""
    files = {run.record["source"]["sha256"]: run for run in runs}
    if len(files) > 1 and runs[0].record["source"]["kind"] != "generated":
        raise UserError(
            f"reading several runs of {runs[0].task}",
            found=f"different questions under one name ({quoted(r.date for r in files.values())})",
            expected="runs of one task that asked the same questions",
            fix="report them one by one",
        )


def _tasks_of_folder(folder: Path) -> list[RunTask]:
    """Our tasks in the results files below a folder; a file named directly is its own.

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
    files = [p for p in sorted(folder.rglob("*.json")) if _DATE.search(p.name)]
    ours: list[RunTask] = []
    foreign: list[str] = []
    for path in [folder] if folder.is_file() else files:
        results = _read_results(path)
        for task, config in results["configs"].items():
            metadata = config.get("metadata") if isinstance(config, dict) else None
            record = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
            if isinstance(record, dict) and "arms" in record:
                ours.append(_run_task(path, results, task, _checked(record, task, path)))
            else:
                foreign.append(task)
    if not ours:
        raise UserError(
            doing,
            found=f"only other tasks ({quoted(foreign, 3)})" if foreign else "no results_*.json",
            expected="results of a task of ours, such as emo_bbh_attack",
            fix="run `lm_eval --tasks emo_bbh_attack ... --log_samples --output_path "
            f"{folder}` first",
        )
    return ours


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
        "questions": _questions_from(results["configs"][task]["metadata"][METADATA_KEY]),
    }
    return {key: str(value) for key, value in named.items() if value not in (None, "")}


def _questions_from(record: dict[str, Any]) -> str:
    """The kind of source; of generated questions the seed, since they are others for each."""
    source = record["source"]
    seed = str(source["place"]).split(",")[0]
    return f"generated, {seed}" if source["kind"] == "generated" else str(source["kind"])


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


def _arm(raw: dict[str, Any]) -> RunArm:
    return RunArm(
        id=raw["id"],
        kind=raw["kind"],
        family=raw.get("family", raw["kind"]),
        placebo=raw.get("placebo"),
        text=raw.get("text", ""),
    )
