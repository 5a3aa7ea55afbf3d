"""Answers: single questions read back from the samples, with prompts and responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emo_harness.errors import UserError
from emo_harness.runs.arm_scores import SampleLine
from emo_harness.runs.sample_lines import BY_ARM


@dataclass(frozen=True)
class Answer:
    """One question under all arms that were asked, by arm id.

    Attributes:
        question: the document's `input` where it has one, else the control prompt.
        target: as logged.
        prompts: as sent to the model.
        responses: the response, or the responses where there were repeats; for log-likelihoods
            the option with the greatest, and its value.
        parsed: what the filter made of the (first) response.
        options: what the model was asked to rate, and its log-likelihood (nats), in order; empty
            where answers were generated.
        settings: the generation settings that the prompts were sent with; empty for
            log-likelihoods.
    """

    question: str
    target: str
    prompts: dict[str, str]
    responses: dict[str, str | tuple[str, ...]]
    parsed: dict[str, str]
    options: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def read_answers(lines: Iterable[Sequence[SampleLine]]) -> list[Answer]:
    """Read questions back, in the order given.

    Args:
        lines: elements of `ArmScores.lines`.

    Raises:
        UserError: a samples file has gone or changed since it was read.
    """
    wanted = list(lines)
    read: dict[SampleLine, Answer] = {}
    for line in sorted({line for places in wanted for line in places}):
        read[line] = _answer(line)
    return [_merged([read[line] for line in places]) for places in wanted]


def _answer(line: SampleLine) -> Answer:
    try:
        with line.file.open("rb") as samples:
            samples.seek(line.offset)
            text = samples.readline().decode("utf-8", "replace")
        return _from_sample(json.loads(text, strict=False))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"reading a question again from {line.file}, byte {line.offset}",
            found="no file, or another line than was read before",
            expected="the line that was read before",
            fix="the file has changed while the report was made; report again",
        ) from error


def _from_sample(sample: dict[str, Any]) -> Answer:
    requests = list(sample["arguments"].values())
    options = isinstance(requests[0].get("arg_1"), str)
    arms = _asked(sample, len(requests), options)
    per_arm = len(requests) // len(arms)
    prompts: dict[str, str] = {}
    responses: dict[str, str | tuple[str, ...]] = {}
    parsed: dict[str, str] = {}
    rated: dict[str, tuple[tuple[str, float], ...]] = {}
    for i, arm_id in enumerate(arms):
        first = i * per_arm
        own = slice(first, first + per_arm)
        prompts[arm_id] = _text(requests[first]["arg_0"])
        if options:
            rated[arm_id] = _rated(requests[own], sample["resps"][own])
            likeliest = _likeliest(rated[arm_id])
            responses[arm_id] = likeliest
            parsed[arm_id] = likeliest.rsplit(" (", 1)[0]
        else:
            given = [_text(response) for response in sample["resps"][first]]
            responses[arm_id] = given[0] if len(given) == 1 else tuple(given)
            parsed[arm_id] = _text(_first(sample["filtered_resps"][first]))
    doc = sample.get("doc")
    asked = doc.get("input") if isinstance(doc, dict) else None
    return Answer(
        question=_text(asked) if isinstance(asked, str) else next(iter(prompts.values())),
        target=_text(sample["target"]),
        prompts=prompts,
        responses=responses,
        parsed=parsed,
        options=rated,
        settings=_settings(requests[0].get("arg_1")),
    )


def _asked(sample: dict[str, Any], n_requests: int, options: bool) -> list[str]:
    """The arms that the requests belong to: all, or those with a score."""
    scored = [by_arm for key, by_arm in sample.items() if key.endswith(BY_ARM)]
    for arms in (sample["unparsed"], scored[0]):
        if n_requests % len(arms) == 0 and (options or n_requests == len(arms)):
            return list(arms)
    raise ValueError(f"{n_requests} requests for {len(scored[0])} arms")


def _settings(logged: object) -> dict[str, Any]:
    return dict(logged) if isinstance(logged, Mapping) else {}


def _rated(requests: Sequence[Any], resps: Sequence[Any]) -> tuple[tuple[str, float], ...]:
    values = [float(_first(_first(response))) for response in resps]
    return tuple(
        (_text(request["arg_1"]), value) for request, value in zip(requests, values, strict=True)
    )


def _likeliest(rated: Sequence[tuple[str, float]]) -> str:
    """The option with the greatest log-likelihood, e.g. "True (-1.25)"."""
    option, value = max(rated, key=lambda one: one[1])
    return f"{option.strip()} ({value:.3g})"


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _text(value: object) -> str:
    """As text that can be written: half of a surrogate pair is shown as unknown."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _merged(answers: Sequence[Answer]) -> Answer:
    first, *others = answers
    for other in others:
        first = Answer(
            question=first.question,
            target=first.target,
            prompts={**other.prompts, **first.prompts},
            responses={**other.responses, **first.responses},
            parsed={**other.parsed, **first.parsed},
            options={**other.options, **first.options},
            settings=first.settings,
        )
    return first
