"""Facts of a run: what it was made with, how large it is, how long it took."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_harness.runs.asked_model import AskedModel, asked_model
from emo_harness.runs.record import Record
from emo_harness.runs.settings import DEFAULT_SEEDS, plain_name

_TORCH = re.compile(r"^PyTorch version: (\S+)", re.MULTILINE)
NAN = float("nan")


@dataclass(frozen=True)
class QuestionSource:
    """Where a task's questions came from: `kind`, `place` and hash ("" for the hub)."""

    task: str
    kind: str
    place: str
    sha256: str


@dataclass(frozen=True)
class RunFacts:
    """One results file: what made it. Unknown text is "", an unknown number NaN.

    Attributes:
        results_file: its name; where others have the same name, with the nearest folder that
            tells them apart.
        samples_bytes: of all its samples files of ours.
        date: as lm-eval writes it into file names.
        model: short name; `model_source` is lm-eval's name of the backend.
        torch_version: as lm-eval's description of the environment tells.
        seeds: lm-eval's four seeds by name.
        settings: those that all its tasks have in common.
        command: the command line, secrets left out; "" where the run did not record it.
        evaluation_s: lm-eval's wall time in seconds.
        prompt_chars: characters of all arms' prompts, each counted once.
        answer_chars: characters received, all arms and repeats; 0 for log-likelihoods.
        prompt_tokens, answer_tokens: about as many tokens, from a sample of the prompts and
            answers; NaN where the run's tokenizer is not at hand.
        stimuli_sha256: hashes of the sets of arms its tasks asked.
        task_hashes: lm-eval's hash of questions, prompts and targets, by task.
        n_questions: over all tasks; `n_dropped` had no answer among their options.
        limited: some task asked only a part of its questions.
        asked: what is known of the model's weights and tokenizer.
    """

    results_file: str
    samples_bytes: int
    date: str
    model: str
    model_source: str
    revision: str
    dtype: str
    lm_eval_version: str
    emo_harness_version: str
    transformers_version: str
    torch_version: str
    git_hash: str
    seeds: dict[str, int]
    settings: dict[str, str]
    command: str
    evaluation_s: float
    prompt_chars: float
    answer_chars: float
    prompt_tokens: float
    answer_tokens: float
    stimuli_sha256: tuple[str, ...]
    sources: tuple[QuestionSource, ...]
    chat_template_sha: str
    tasks: tuple[str, ...]
    task_hashes: dict[str, str] = field(repr=False)
    n_questions: int
    n_dropped: int
    limited: bool
    asked: AskedModel = field(default_factory=AskedModel, repr=False)


def model_name(results: Mapping[str, Any]) -> str:
    """The model's hub id; a local folder's own name."""
    name = str(results.get("model_name") or results.get("config", {}).get("model") or "unknown")
    return plain_name(name)


def header_facts(
    path: Path,
    date: str,
    results: Mapping[str, Any],
    records: Mapping[str, Record],
    settings: Mapping[str, Mapping[str, str]],
) -> RunFacts:
    """What the results file alone tells; sizes of its samples are not known yet.

    Args:
        records: what each task of ours recorded, by task.
        settings: each task's settings, by task.
    """
    config = results.get("config", {})
    args = config.get("model_args")
    named = args if isinstance(args, Mapping) else {}
    counts = [results.get("n-samples", {}).get(task, {}) for task in records]
    hashes = results.get("task_hashes") or {}
    torch = _TORCH.search(str(results.get("pretty_env_info", "")))
    return RunFacts(
        results_file=path.name,
        samples_bytes=0,
        date=date,
        model=model_name(results),
        model_source=_text(results.get("model_source") or config.get("model")),
        revision=_text(config.get("model_sha") or config.get("model_revision")),
        dtype=_text(config.get("model_dtype") or named.get("dtype")).removeprefix("torch."),
        lm_eval_version=_text(results.get("lm_eval_version")),
        emo_harness_version=_common(_text(r.emo_harness) for r in records.values()),
        transformers_version=_text(results.get("transformers_version")),
        torch_version=torch.group(1) if torch else "",
        git_hash=_text(results.get("git_hash")),
        seeds={name: config[name] for name in DEFAULT_SEEDS if isinstance(config.get(name), int)},
        settings=_shared(list(settings.values())),
        command=_common(_text(r.command) for r in records.values()),
        evaluation_s=_number(results.get("total_evaluation_time_seconds")),
        prompt_chars=NAN,
        answer_chars=NAN,
        prompt_tokens=NAN,
        answer_tokens=NAN,
        stimuli_sha256=tuple(dict.fromkeys(r.stimuli_sha256 for r in records.values())),
        sources=tuple(_source(task, record) for task, record in records.items()),
        chat_template_sha=_text(results.get("chat_template_sha")),
        tasks=tuple(records),
        task_hashes={task: str(hashes[task]) for task in records if task in hashes},
        n_questions=sum(c.get("effective", 0) for c in counts),
        n_dropped=sum(r.n_dropped for r in records.values()),
        limited=any(c.get("effective") != c.get("original") for c in counts),
        asked=asked_model(results, records),
    )


def _source(task: str, record: Record) -> QuestionSource:
    source = record.source
    return QuestionSource(task, source.kind, source.place, _text(source.sha256))


def _shared(settings: list[Mapping[str, str]]) -> dict[str, str]:
    first, *others = settings
    return {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}


def _common(texts: Any) -> str:
    return " / ".join(dict.fromkeys(text for text in texts if text))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return NAN
    return number if math.isfinite(number) else NAN
