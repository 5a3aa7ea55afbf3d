"""Results files: which tasks of ours a run folder holds, and how they were run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emo_harness.errors import UserError, quoted
from emo_harness.prompt_tokens import PromptLimit
from emo_harness.runs.facts import RunFacts, header_facts
from emo_harness.runs.header import DATE, read_header, read_results
from emo_harness.runs.record import METADATA_KEY, Record, RunArm, read_record
from emo_harness.runs.settings import settings_of

_SAMPLES = re.compile(r"^samples_.+_(\d{4}-\d\d-\d\dT[\d.-]+\w?)\.jsonl$")


@dataclass(frozen=True)
class RunTask:
    """One of our tasks in one results file, before its samples are read.

    Attributes:
        date: of the run, as lm-eval writes it into file names.
        config: the task's configuration as lm-eval logged it.
        record: what the task recorded of itself.
        n_questions: how many it asked; `n_available` is how many there are.
        facts: of the results file.
    """

    model: str
    results_file: Path
    samples_file: Path
    task: str
    date: str
    config: dict[str, Any] = field(repr=False)
    record: Record = field(repr=False)
    n_questions: int
    n_available: int
    settings: dict[str, str]
    limit: PromptLimit | None
    facts: RunFacts = field(repr=False)

    @property
    def arms(self) -> tuple[RunArm, ...]:
        return self.record.run_arms

    @property
    def samples_name(self) -> str:
        """For messages, told apart like the name of the results file."""
        told = self.facts.results_file.removesuffix(self.results_file.name)
        return f"{told}{self.samples_file.name}"

    @property
    def limited(self) -> bool:
        return self.n_questions != self.n_available


def find_tasks(folders: Iterable[Path]) -> list[RunTask]:
    """Every task of ours in the run folders, each file once, oldest run first.

    Raises:
        UserError: a folder is missing, holds no results, none of ours, or results without samples
            or samples without results.
    """
    tasks = {
        (task.results_file.resolve(), task.task): task
        for folder in folders
        for task in _tasks_of_folder(folder)
    }
    names = _names_apart({path for path, _ in tasks})
    named = [
        replace(task, facts=replace(task.facts, results_file=names[path]))
        for (path, _), task in tasks.items()
    ]
    return sorted(named, key=lambda t: t.date)


def _names_apart(files: Iterable[Path]) -> dict[Path, str]:
    """Each file's name; of equal names each with the nearest folder that tells them apart."""
    alike: dict[str, list[Path]] = {}
    for path in files:
        alike.setdefault(path.name, []).append(path)
    names: dict[Path, str] = {}
    for name, paths in alike.items():
        n_parts = 1
        while len({path.parts[-n_parts:] for path in paths}) < len(paths):
            n_parts += 1
        between = "/.../" if n_parts > 2 else "/"
        short = {p: name if n_parts == 1 else f"{p.parts[-n_parts]}{between}{name}" for p in paths}
        whole = {p: "/".join(p.parts[-n_parts:]) for p in paths}
        names |= short if len(set(short.values())) == len(paths) else whole
    return names


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
    files = [p for p in sorted(folder.rglob("*.json")) if DATE.search(p.name)]
    if folder.is_dir():
        _refuse_samples_alone(folder, files)
    ours: list[RunTask] = []
    foreign: list[str] = []
    for path in [folder] if folder.is_file() else files:
        found, others = _tasks_of_file(path)
        ours += found
        foreign += others
    if not ours:
        raise UserError(
            doing,
            found=f"only other tasks ({quoted(foreign, 3)})" if foreign else "no results_*.json",
            expected="results of a task of ours, such as emo_bbh_attack",
            fix="run `lm_eval --tasks emo_bbh_attack ... --log_samples --output_path "
            f"{folder}` first",
        )
    return ours


def _refuse_samples_alone(folder: Path, results: Iterable[Path]) -> None:
    """Samples cannot be read without the results beside them, which hold arms and settings."""
    dates = {(p.parent, m.group(1)) for p in results if (m := DATE.search(p.name))}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        match = _SAMPLES.match(path.name)
        if match and (path.parent, match.group(1)) not in dates:
            raise UserError(
                f"reading the run folder {folder}",
                found=f"{path.relative_to(folder)} without its results file",
                expected=f"results_{match.group(1)}.json beside it, with the arms and settings",
                fix="put the results file back, or move the samples away",
            )


def _tasks_of_file(path: Path) -> tuple[list[RunTask], list[str]]:
    """Our tasks in one results file, and the names of the others."""
    results = read_results(path)
    match = DATE.search(path.name)
    date = match.group(1) if match else ""
    records: dict[str, Record] = {}
    foreign: list[str] = []
    for task, config in results["configs"].items():
        metadata = config.get("metadata") if isinstance(config, dict) else None
        record = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
        if isinstance(record, dict) and "arms" in record:
            records[task] = read_record(record, task, path)
        else:
            foreign.append(task)
    if not records:
        return [], foreign
    header = read_header(results, records, path)
    settings = {task: settings_of(results, task, record) for task, record in records.items()}
    facts = header_facts(path, date, results, records, settings)
    limit = PromptLimit.of_run(header.config, results.get("max_length"))
    tasks = []
    for task, record in records.items():
        tasks.append(
            RunTask(
                model=facts.model,
                results_file=path,
                samples_file=_samples_file(path, task, date),
                task=task,
                date=date,
                config=results["configs"][task],
                record=record,
                n_questions=header.n_samples[task].effective,
                n_available=header.n_samples[task].original,
                settings=settings[task],
                limit=limit,
                facts=facts,
            )
        )
    return tasks, foreign


def _samples_file(path: Path, task: str, date: str) -> Path:
    samples = path.with_name(f"samples_{task}_{date}.jsonl")
    if not samples.is_file():
        raise UserError(
            f"reading the run of {task} in {path.parent}",
            found=f"{path.name} without {samples.name}",
            expected="one samples file per task beside the results",
            fix="run lm_eval with --log_samples",
        )
    return samples
