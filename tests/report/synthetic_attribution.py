"""Made-up `attribution.json` of any size, by hand from the format: numbers hang together."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

METHODS = (
    "leave-one-out",
    "integrated-gradients",
    "gradient-x-input",
    "gradient-norm",
    "attention-rollout",
)
UNSIGNED = ("gradient-norm", "attention-rollout")
STIMULI = {
    "EP02": "This is very important to my career.",
    "EP03": "You'd better be sure.",
    "EA01": "Your friend Bob is seriously sick.",
    "neutral-01": "The text above is in English.",
}
ARMS = tuple(arm for arm in STIMULI if not arm.startswith("neutral"))
QUESTION = "Q: The day before yesterday was 23 July 1943. What is the date one week from today?\n"


def attribution(
    flips: int = 2,
    question_chars: int = 300,
    methods: Sequence[str] = METHODS,
    seed: int = 5,
    **changes: Any,
) -> dict[str, Any]:
    """What `emo attribute` would write of one group and that many flips."""
    rng = np.random.default_rng(seed)
    made = {
        "schema_version": 1,
        "model": "emo-demo",
        "is_same_model": True,
        "forced": None,
        "methods": list(methods),
        "baseline": "mean",
        "seed": 1,
        "n_questions": 60,
        "n_flips": max(flips, 41),
        "skipped": {"too_long": 3, "without_target": 0, "stimulus_not_found": 1},
        "unknown": {},
        "groups": [_group(rng, methods)],
        "agreement": [
            {"method": m, "n_prompts": 240, "rank": bounds(rank, 0.06)}
            for m, rank in zip(METHODS, (1.0, 0.81, 0.42, 0.12, 0.02), strict=True)
            if m in methods and m != "leave-one-out"
        ],
        "convergence": {
            "n": 240,
            "n_unconverged": 7,
            "steps": {"32": 180, "64": 40, "128": 10, "256": 10},
            "largest_delta": 0.31,
        },
        "randomised": [
            {"method": m, "n_prompts": 40, "rank": bounds(rank, 0.05)}
            for m, rank in zip(METHODS, (0.01, -0.02, 0.04, 0.33, 0.86), strict=True)
            if m in methods
        ],
        "shown": [_flip(rng, number, question_chars, methods) for number in range(flips)],
    }
    return made | changes


def bounds(value: float, half: float) -> list[float]:
    """An estimate with an interval of that half width."""
    return [value, value - half, value + half]


def added(methods: Sequence[str] = METHODS) -> dict[str, Any]:
    """A special token that the tokenizer adds before the prompt."""
    return {"text": "", "role": "special", "scores": dict.fromkeys(methods, 0.3)}


def pieces(text: str, role: str, rng: np.random.Generator, methods: Sequence[str]) -> list[Any]:
    """The text cut into words and space, each word with a score of each method."""
    spread = 0.4 if role == "stimulus" else 0.12
    found = []
    for part in re.findall(r"\s+|\S+", text):
        is_space = part.isspace()
        scores = {
            m: None if is_space else float(abs(s) if m in UNSIGNED else s)
            for m, s in zip(methods, rng.normal(0, spread, len(methods)), strict=True)
        }
        found.append({"text": part, "role": "space" if is_space else role, "scores": scores})
    return found


def side(
    parts: Sequence[tuple[str, str]],
    rng: np.random.Generator,
    methods: Sequence[str] = METHODS,
    **changes: Any,
) -> dict[str, Any]:
    """A prompt of texts and their roles, and what was answered."""
    made = {
        "log_probability": -2.31 + float(rng.normal(0, 0.3)),
        "score": 1.0,
        "answer": "The date is 08/01/1943.",
        "agreement": {m: float(rng.uniform(-0.2, 0.9)) for m in methods if m != "leave-one-out"},
        "converged": True,
        "pieces": [added(methods)]
        + [p for text, role in parts for p in pieces(text, role, rng, methods)],
    }
    return made | changes


def with_posthoc(folder: Path, made: object) -> Path:
    """The folder of a run that holds the file."""
    (folder / "posthoc").mkdir(parents=True)
    (folder / "posthoc" / "attribution.json").write_text(json.dumps(made), "utf-8")
    return folder


def _flip(
    rng: np.random.Generator, number: int, chars: int, methods: Sequence[str]
) -> dict[str, Any]:
    arm = ARMS[number % len(ARMS)]
    text = STIMULI[arm]
    question = (QUESTION * (chars // len(QUESTION) + 1))[: max(chars, len(QUESTION))].rstrip()
    before, after = f"Infer the date.\n\n{question}\n", "\nA:"
    return {
        "benchmark": "bbh",
        "subtask": "date_understanding",
        "doc_id": 11 + number,
        "kind": ("fixed", "broke")[number % 2],
        "family": _family(arm),
        "arm": arm,
        "stimulus_text": text,
        "target": "(B) 08/06/1943",
        "control": side([(before.rstrip() + after, "prompt")], rng, methods, score=0.0),
        "arm_side": side(
            [(before, "prompt"), (text, "stimulus"), (after, "prompt")],
            rng,
            methods,
            converged=number % 2 == 0,
        ),
    }


def _group(rng: np.random.Generator, methods: Sequence[str]) -> dict[str, Any]:
    words: list[dict[str, Any]] = []
    top: list[dict[str, Any]] = []
    for method in methods:
        for arm, text in STIMULI.items():
            family = _family(arm)
            for position, word in enumerate(text.split()):
                value = float(rng.normal(0, 0.08))
                value = abs(value) if method in UNSIGNED else value
                common = {"family": family, "word": word, "method": method, "n": 60}
                words.append(
                    common
                    | {
                        "arm": arm,
                        "position": position,
                        "subtask": "(all)",
                        "contribution": bounds(value, 0.04),
                    }
                )
                plain = word.lower().strip(".,'")
                top.append(
                    common
                    | {
                        "word": plain,
                        "n_arms": 1,
                        "contribution": bounds(value, 0.04),
                        "q": float(min(1.0, 0.0002 / value**2)),
                    }
                )
    shares = [
        {
            "family": family,
            "method": method,
            "subtask": subtask,
            "n": 60,
            "share": bounds(float(rng.uniform(0.05, 0.4)), 0.03),
            "equal_share": 0.12,
        }
        for family in ("attack", "placebo", "prompt")
        for method in methods
        for subtask in ("(all)", "date_understanding", "navigate")
    ]
    whole = [
        {
            "family": _family(arm or some),
            "arm": arm,
            "subtask": "(all)",
            "n": 60,
            "contribution": bounds(float(rng.normal(0, 0.1)), 0.08),
        }
        for arm, some in [*((arm, "") for arm in STIMULI), (None, "EA"), (None, "EP"), (None, "n")]
    ]
    return {
        "model": "emo-demo",
        "benchmark": "bbh",
        "mode": "zeroshot",
        "placement": "suffix",
        "asked": "attack",
        "n_questions": 60,
        "n_prompts": 240,
        "shares": shares,
        "whole": whole,
        "words": words,
        "top_words": top,
    }


def _family(arm: str) -> str:
    return {"EA": "attack", "EP": "prompt"}.get(arm[:2], "placebo")
