"""Repeats: scoring every one of several responses to a request, as lm-eval scores the first.

With `repeats` lm-eval asks a request several times, but its filters keep the first response. The
task's filter chain and metric, as the run logged them, are applied to each response here; the
first one's score must come out as logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.runs.sample_lines import out_of_range

if TYPE_CHECKING:
    from emo_harness.runs.results import RunTask

# Filters are applied to so many questions at a time: some take long to set up, all hold texts.
QUESTIONS_AT_A_TIME = 100
CHARS_AT_A_TIME = 10_000_000
# What a metric's entry says beside the arguments of its function.
_NOT_ARGUMENTS = ("metric", "aggregation", "higher_is_better", "hf_evaluate")
KNOWN_SCORES = 100_000
KNOWN_CHARS = 1_000
Slot = tuple[str, str]
log = logging.getLogger(__name__)


class RepeatScores:
    """Scores of all responses, metric by metric and filter by filter, as lines come in."""

    def __init__(self, task: RunTask) -> None:
        self._arm_ids = [arm.id for arm in task.arms]
        self._made_by = task.facts.lm_eval_version
        self._n_repeats = int(task.config["repeats"])
        self._chains = _chains(task)
        # Where the task has a scoring of its own, a metric's name says nothing.
        declared = [] if task.config.get("process_results") else task.config.get("metric_list")
        self._metrics = _metrics(declared or [])
        self._waiting: dict[Slot, list[_Waiting]] = {}
        self._waiting_chars: dict[Slot, int] = {}
        self._scored: dict[Slot, list[NDArray[np.float64]]] = {}
        self._unable: dict[Slot, str] = {}
        self._known: dict[tuple[str, str, str], float] = {}
        self._all_alike = True

    def add(self, sample: Any, metric: str, logged: Mapping[str, float | None], where: str) -> None:
        """Take one line's responses; `logged` are lm-eval's scores of the first ones."""
        slot = (metric, sample.filter)
        scored = [arm_id for arm_id in self._arm_ids if logged.get(arm_id) is not None]
        n_asked = len(sample.resps)
        asked = self._arm_ids if n_asked == len(self._arm_ids) else scored
        if n_asked != len(asked) or any(len(r) != self._n_repeats for r in sample.resps):
            raise UserError(
                where,
                found=f"{n_asked} lists of responses for {len(asked)} arms, or some not of "
                f"{self._n_repeats} responses",
                expected=f"{self._n_repeats} responses under every arm",
                fix="run the task again",
            )
        self._all_alike &= all(r == responses[0] for responses in sample.resps for r in responses)
        waiting = self._waiting.setdefault(slot, [])
        target = str(sample.target)
        waiting.append(_Waiting(asked, sample.resps, sample.doc, target, logged, where))
        n_chars = self._waiting_chars.get(slot, 0) + sum(
            len(response) for responses in sample.resps for response in responses
        )
        self._waiting_chars[slot] = n_chars
        if len(waiting) >= QUESTIONS_AT_A_TIME or n_chars >= CHARS_AT_A_TIME:
            self._score_waiting(slot)

    def means_and_variances(
        self, slots: Sequence[Slot]
    ) -> tuple[dict[Slot, NDArray[np.float64]], dict[Slot, NDArray[np.float64]]]:
        """(n_questions, n_arms) mean and variance (n - 1) over repeats; none where unable."""
        means, variances = {}, {}
        for slot in slots:
            self._score_waiting(slot)
            if slot not in self._unable:
                scores = np.stack(self._scored[slot])
                means[slot] = scores.mean(axis=2)
                variances[slot] = scores.var(axis=2, ddof=1)
        return means, variances

    def remarks(self) -> list[str]:
        told = [
            f"{metric} under filter {filter_name} cannot be applied to each of the "
            f"{self._n_repeats} responses ({why}); its scores are of the first response alone."
            for (metric, filter_name), why in self._unable.items()
        ]
        if self._all_alike:
            told.append(
                f"All {self._n_repeats} responses to each prompt are the same: were they sampled "
                "(do_sample=true and a temperature above 0)?"
            )
        return told

    def _score_waiting(self, slot: Slot) -> None:
        questions, self._waiting[slot] = self._waiting.get(slot, []), []
        self._waiting_chars[slot] = 0
        if slot in self._unable or not questions:
            return
        metric, filter_name = slot
        try:
            if metric not in self._metrics or filter_name not in self._chains:
                raise LookupError("lm-eval has no such metric or filter by the name in the log")
            score = self._metrics[metric]
            parsed = _parsed(self._chains[filter_name], questions)
            done = self._scored.setdefault(slot, [])
            for question, answers in zip(questions, parsed, strict=True):
                done.append(self._scores(question, answers, metric, score))
        except UserError:
            raise
        except Exception as error:  # whatever a user's own filter or metric may raise
            log.debug("repeats of %s", slot, exc_info=True)
            self._unable[slot] = " ".join(str(error).split())[:120] or type(error).__name__

    def _scores(
        self,
        question: _Waiting,
        answers: Sequence[Sequence[Any]],
        metric: str,
        score: Callable[[str, Any], float],
    ) -> NDArray[np.float64]:
        """(n_arms, n_repeats) of one question; the first must be as logged."""
        scores = np.full((len(self._arm_ids), self._n_repeats), np.nan)
        for arm_id, responses in zip(question.asked, answers, strict=True):
            logged = question.logged.get(arm_id)
            if logged is None:
                continue
            row = scores[self._arm_ids.index(arm_id)]
            for i, answer in enumerate(responses):
                shown = str(answer)
                if len(shown) > KNOWN_CHARS:
                    row[i] = score(question.target, answer)
                    continue
                key = (metric, question.target, shown)
                if key not in self._known:
                    if len(self._known) >= KNOWN_SCORES:
                        self._known.clear()
                    self._known[key] = score(question.target, answer)
                row[i] = self._known[key]
            if not np.isclose(row[0], logged, atol=1e-9, equal_nan=True):
                raise UserError(
                    f"{question.where}: scoring all {self._n_repeats} responses",
                    found=f"{metric} {row[0]:g} for the first response under {arm_id}, "
                    f"logged is {logged:g}",
                    expected="the score that lm-eval logged",
                    fix="its filters or metrics have changed; report with lm-eval "
                    f"{self._made_by or 'of the version that made the run'}",
                )
            row[~np.isfinite(row)] = np.nan
            odd = row[(row < 0) | (row > 1)]
            if odd.size:
                raise out_of_range(odd[0], arm_id, question.where)
        return scores


@dataclass(frozen=True)
class _Waiting:
    """A question whose responses are still to be scored."""

    asked: Sequence[str]
    resps: list[list[Any]]
    doc: Any
    target: str
    logged: Mapping[str, float | None]
    where: str


def _parsed(chain: Any, questions: Sequence[Any]) -> list[list[list[Any]]]:
    """What the filters make of each response alone: by question, arm and repeat."""
    requests = [
        SimpleNamespace(resps=[response], doc=question.doc, filtered_resps={})
        for question in questions
        for responses in question.resps
        for response in responses
    ]
    chain.apply(requests)
    parsed = iter([request.filtered_resps[chain.name] for request in requests])
    return [
        [[next(parsed) for _ in responses] for responses in question.resps]
        for question in questions
    ]


def _chains(task: RunTask) -> dict[str, Any]:
    """The filter chains by name; functions that a log can only name are taken from upstream."""
    from lm_eval.filters import build_filter_ensemble

    logged = task.config.get("filter_list")
    if logged is None:
        return {"none": build_filter_ensemble("none", [("take_first", None)])}
    if any("<" in str(step["function"]) for chain in logged for step in chain["filter"]):
        logged = _upstream_filters(task) or logged
    chains = {}
    for chain in logged:
        steps = [
            (step["function"], {k: v for k, v in step.items() if k != "function"})
            for step in chain["filter"]
        ]
        try:
            chains[chain["name"]] = build_filter_ensemble(chain["name"], steps)
        except KeyError as error:
            log.debug("filter %s: %s", chain["name"], error)
    return chains


def _upstream_filters(task: RunTask) -> list[dict[str, Any]] | None:
    upstream = task.record.upstream
    if not upstream:
        return None
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml

    tasks = Path(lm_eval.tasks.__file__).parent
    path = (tasks / upstream).resolve()
    if not path.is_relative_to(tasks.resolve()) or not path.is_file():
        return None
    filters = load_yaml(path, resolve_func=True).get("filter_list")
    return filters if isinstance(filters, list) else None


def _metrics(metric_list: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[str, Any], float]]:
    """Metric name to a function of target and answer, called as lm-eval's tasks call it."""
    import lm_eval.api.metrics  # noqa: F401  (fills the registry)
    from lm_eval.api.registry import metric_registry

    metrics: dict[str, Callable[[str, Any], float]] = {}
    for declared in metric_list:
        name = declared["metric"]
        if name not in metric_registry:
            continue
        function = metric_registry[name]
        arguments = {k: v for k, v in declared.items() if k not in _NOT_ARGUMENTS}
        metrics[name] = _scorer(name, function, arguments)
    return metrics


def _scorer(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Any]
) -> Callable[[str, Any], float]:
    def score(target: str, answer: Any) -> float:
        gold = target if isinstance(answer, list) else type(answer)(target)
        try:
            result = function(references=[gold], predictions=[answer], **arguments)
        except TypeError:
            result = function([gold, answer])
        return float(result[name] if isinstance(result, dict) else result)

    return score
