"""Origin: runs, versions, hashes, command lines, seeds, time and tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emo_harness.report.blocks import Block, Cell, Column, Prose, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.names import long_names
from emo_harness.report.numerals import UNKNOWN, count_cell, rough, text_cell

if TYPE_CHECKING:
    from emo_harness.runs import RunFacts

ORDER = 210
SHORT_HASH = 12
LONG = 12

INTRO = (
    "Everything that made these numbers, so that someone else can make them again. Token counts"
    " are estimates from a sample of the prompts. Unknown values are shown as a dash."
)
RUN_COLUMNS = (
    Column("model"),
    Column("revision"),
    Column("backend"),
    Column("dtype"),
    Column("questions", numeric=True),
    Column("dropped", "questions without an answer among their options", numeric=True),
    Column("complete", "no: a part of the questions was asked"),
    Column("time", "lm-eval's wall time", numeric=True),
    Column("prompt tokens", "about", numeric=True),
    Column("answer tokens", "about", numeric=True),
    Column("samples", "size of the samples files", numeric=True),
    Column("date"),
    Column("results file"),
)
VERSION_COLUMNS = (
    Column("model"),
    Column("lm-eval"),
    Column("emo-harness"),
    Column("transformers"),
    Column("torch"),
    Column("git"),
    Column("seeds"),
    Column("settings"),
    Column("chat template"),
    Column("stimuli"),
)
NAME_COLUMNS = (Column("shown as"), Column("name"))
COMMAND_COLUMNS = (Column("results file"), Column("command line"))
TASK_COLUMNS = (
    Column("task"),
    Column("model", filtered=True),
    Column("hash of questions, prompts and targets"),
    Column("questions from"),
    Column("hash of the questions' files"),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section."""
    facts = contents.facts
    blocks: list[Block] = []
    if contents.command:
        blocks += [Prose("This page was made by"), Prose(contents.command, "code")]
    names = long_names(contents)
    if names:
        full = [[text_cell(short, "strong"), text_cell(n, "full")] for n, short in names.items()]
        blocks.append(Table("origin-names", "Names in full", NAME_COLUMNS, full))
    if facts:
        tasks = [cells for fact in facts for cells in _task_cells(fact)]
        blocks += [
            Table("origin-runs", "Runs", RUN_COLUMNS, [_run_cells(f) for f in facts]),
            Table("origin-versions", "Versions", VERSION_COLUMNS, [_versions(f) for f in facts]),
            Table(
                "origin-commands",
                "Command lines",
                COMMAND_COLUMNS,
                [
                    [
                        text_cell(f.results_file, "quiet"),
                        text_cell(f.command or "not recorded", "code"),
                    ]
                    for f in facts
                ],
            ),
            Table(
                "origin-tasks",
                "Hashes of tasks and questions",
                TASK_COLUMNS,
                tasks,
                search=len(tasks) > LONG,
                collapsed=len(tasks) > LONG,
            ),
        ]
    return Section("origin", "Where these numbers come from", INTRO, blocks) if blocks else None


def _run_cells(fact: RunFacts) -> list[Cell]:
    return [
        text_cell(fact.model, "strong"),
        text_cell(fact.revision[:SHORT_HASH], "code"),
        text_cell(fact.model_source),
        text_cell(fact.dtype),
        count_cell(fact.n_questions),
        count_cell(fact.n_dropped),
        text_cell("no" if fact.limited else "yes", "down" if fact.limited else ""),
        Cell(fact.evaluation_s, _duration(fact.evaluation_s), sort=fact.evaluation_s),
        Cell(fact.prompt_tokens, rough(fact.prompt_tokens), sort=fact.prompt_tokens),
        Cell(fact.answer_tokens, rough(fact.answer_tokens), sort=fact.answer_tokens),
        Cell(fact.samples_bytes, f"{fact.samples_bytes / 1e6:,.1f} MB", sort=fact.samples_bytes),
        text_cell(fact.date.partition("T")[0], "whole"),
        text_cell(fact.results_file, "code"),
    ]


def _versions(fact: RunFacts) -> list[Cell]:
    seeds = ", ".join(f"{name.removesuffix('_seed')} {n}" for name, n in fact.seeds.items())
    return [
        text_cell(fact.model, "strong"),
        text_cell(fact.lm_eval_version),
        text_cell(fact.emo_harness_version),
        text_cell(fact.transformers_version),
        text_cell(fact.torch_version),
        text_cell(fact.git_hash[:SHORT_HASH], "code"),
        text_cell(seeds),
        text_cell(", ".join(f"{name}={value}" for name, value in fact.settings.items()), "code"),
        text_cell(fact.chat_template_sha[:SHORT_HASH], "code"),
        text_cell(", ".join(sha[:SHORT_HASH] for sha in fact.stimuli_sha256), "code"),
    ]


def _task_cells(fact: RunFacts) -> list[list[Cell]]:
    sources = {source.task: source for source in fact.sources}
    made = []
    for task in fact.tasks:
        source = sources.get(task)
        made.append(
            [
                text_cell(task, "strong"),
                text_cell(fact.model),
                text_cell(fact.task_hashes.get(task, "")[:SHORT_HASH], "code"),
                text_cell(f"{source.kind} {source.place}".strip() if source else ""),
                text_cell(source.sha256[:SHORT_HASH] if source else "", "code"),
            ]
        )
    return made


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return UNKNOWN
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
