"""Lines of a samples file: only the fields that scores need, one line at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from emo_harness.errors import UserError
from emo_harness.runs.no_json import no_json

BY_ARM = "_by_arm"
READ_BYTES = 1 << 20
_AGAIN = "run the task again; answers kept by --use_cache are not asked twice"


class Request(msgspec.Struct):
    """One request: the prompt, and generation arguments or an option."""

    arg_0: str
    arg_1: Any = None


class Sample(msgspec.Struct):
    """What every line is read for.

    Attributes:
        scores: by metric, in the order of the file's metrics; each arm id to score.
    """

    doc_id: int
    doc_hash: str
    prompt_hash: str
    target_hash: str
    filter: str
    metrics: list[str]
    unparsed: dict[str, float | None]

    def scores(self, index: int) -> dict[str, float | None]:
        """By arm, under the file's metric of this number."""
        return getattr(self, f"score_{index}")


class LineReader:
    """Reads the lines of one samples file, in full or without prompts and answers.

    Args:
        name: the file's, for messages.

    Attributes:
        metrics: those with scores by arm, as the first line tells.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._first_metrics: list[str] = []
        self._leading: str | None = None
        self._next_full = True
        self.metrics: tuple[str, ...] = ()
        self._light: msgspec.json.Decoder[Any]
        self._full: msgspec.json.Decoder[Any]

    def samples(self, always_full: bool = False) -> Iterator[tuple[int, int, Any, bool]]:
        """(line number, byte offset, sample, whether prompts and answers are in it) of each line.

        lm-eval writes a question once per filter, with the same prompts and answers each time;
        they are read under the first filter alone unless `always_full`.
        """
        offset = number = 0
        with self._path.open("rb", buffering=READ_BYTES) as lines:
            while line := lines.readline():
                number += 1
                n_bytes = len(line)
                if not line.isspace():
                    yield number, offset, *self._sample(line, number, always_full)
                offset += n_bytes
                # Long lines would else stand side by side while the next one is read.
                line = b""
        if self._leading is None:
            raise UserError(
                f"reading the samples {self._name}",
                found="an empty file",
                expected="one line per question",
                fix="run the task again",
            )

    def _sample(self, line: bytes, number: int, always_full: bool) -> tuple[Any, bool]:
        """The line's sample, and whether prompts and answers are in it."""
        if self._leading is None:
            self._learn(line, number)
        full = self._next_full
        sample = self._decoded(line, number, full)
        self._leading = self._leading or sample.filter
        if not full and sample.filter == self._leading:
            sample, full = self._decoded(line, number, True), True
        self._next_full = always_full or sample.filter == self._leading
        return sample, full

    def _learn(self, line: bytes, number: int) -> None:
        """Which metrics the file has; they are other fields in each task."""
        raw = self._parsed(line, number)
        if not isinstance(raw, dict) or "filter" not in raw:
            raise self._no_sample("no sample of lm_eval's", line, number)
        self.metrics = tuple(k.removesuffix(BY_ARM) for k in raw if k.endswith(BY_ARM))
        if not self.metrics:
            raise UserError(
                f"reading the samples {self._name}",
                found="no scores by arm (was it a --predict_only run?)",
                expected=f"samples with <metric>{BY_ARM}",
                fix="run the task again without --predict_only",
            )
        self._first_metrics = raw.get("metrics") or []
        names = {f"score_{i}": f"{metric}{BY_ARM}" for i, metric in enumerate(self.metrics)}
        scores: Any = [(field, dict[str, float | None]) for field in names]
        light = msgspec.defstruct("LightSample", scores, bases=(Sample,), rename=names)
        answers: Any = [("arguments", dict[str, Request]), ("resps", list[list[Any]])]
        answers += [("doc", Any, None), ("target", Any, None)] if self._repeats(raw) else []
        full = msgspec.defstruct("FullSample", [*scores, *answers], bases=(Sample,), rename=names)
        self._light, self._full = msgspec.json.Decoder(light), msgspec.json.Decoder(full)

    @staticmethod
    def _repeats(raw: dict[str, Any]) -> bool:
        resps = raw.get("resps")
        return isinstance(resps, list) and any(isinstance(r, list) and len(r) > 1 for r in resps)

    def _decoded(self, line: bytes, number: int, full: bool) -> Any:
        decoder = self._full if full else self._light
        try:
            try:
                sample = decoder.decode(line)
            except (msgspec.DecodeError, RecursionError):
                # What Python writes and reads though JSON does not allow it: NaN, Infinity, half
                # of a surrogate pair.
                raw = self._parsed(line, number)
                sample = msgspec.convert(raw, decoder.type)
        except msgspec.ValidationError as error:
            raise UserError(
                f"reading the samples {self._name}, line {number}",
                found=f"a sample with a missing or odd value ({error})",
                expected="a sample as our tasks log it",
                fix="run the task again",
            ) from error
        if sample.metrics != self._first_metrics:
            raise UserError(
                f"reading the samples {self._name}, line {number}",
                found="other metrics than on the first line",
                expected="the same metrics on every line",
                fix="samples of several runs were put into one file; run the task again",
            )
        return sample

    def _parsed(self, line: bytes, number: int) -> Any:
        try:
            return json.loads(line.decode("utf-8"), strict=False)
        except (ValueError, RecursionError) as error:
            raise self._no_sample(no_json(error), line, number) from error

    def _no_sample(self, found: str, line: bytes, number: int) -> UserError:
        torn = "" if line.endswith(b"\n") else " (a torn last line: was the run killed?)"
        return UserError(
            f"reading the samples {self._name}, line {number}",
            found=f"{found}{torn}",
            expected="one JSON object per line",
            fix=_AGAIN,
        )


def out_of_range(score: float, arm_id: str, where: str) -> UserError:
    """What is said of a score that no share of right answers can be."""
    return UserError(
        where,
        found=f"the score {score:g} under {arm_id}",
        expected="scores from 0 to 1, or null where there is none",
        fix="the samples were changed, or the task's metric is none of right and wrong; run a task "
        "of ours again",
    )
