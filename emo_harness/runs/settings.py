"""Settings: how a model was run, as far as that changes its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_harness.command_line import HIDDEN, is_secret
from emo_harness.runs.record import Record

# lm-eval's own; only another seed tells runs apart.
DEFAULT_SEEDS = {"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": 1234}
# What shapes the prompt of control; equal values must give equal prompts.
PROMPT_SETTINGS = (
    "chat_template",
    "system_instruction",
    "num_fewshot",
    "fewshot_as_multiturn",
    "fewshot_seed",
    "questions",
)


def settings_of(results: Mapping[str, Any], task: str, record: Record) -> dict[str, str]:
    """A task's settings by name, as text, from lm-eval's results; unknown ones are left out.

    Numbers are written one way (0, 0.0 and "0" are "0"), so that equal settings are equal text.
    """
    config = results.get("config", {})
    declared = results["configs"][task]
    generation = declared.get("generation_kwargs")
    named = {
        **_mapping(config.get("model_args"), "model_args"),
        "temperature": generation.get("temperature") if isinstance(generation, dict) else None,
        **_mapping(config.get("gen_kwargs"), "gen_kwargs"),
        "backend": config.get("model"),
        "steer": _steering(config),
        "revision": config.get("model_sha") or config.get("model_revision"),
        "dtype": config.get("model_dtype"),
        "num_fewshot": results.get("n-shot", {}).get(task),
        "repeats": declared.get("repeats") if declared.get("repeats") != 1 else None,
        "system_instruction": results.get("system_instruction"),
        "chat_template": _chat_template(results),
        "fewshot_as_multiturn": results.get("fewshot_as_multiturn"),
        "questions": questions_from(record),
        **{k: config[k] for k, usual in DEFAULT_SEEDS.items() if config.get(k, usual) != usual},
    }
    return {
        key: HIDDEN if is_secret(key) else _text(value)
        for key, value in named.items()
        if value not in (None, "")
    }


def questions_from(record: Record) -> str:
    """The kind of source; of generated questions the seed, since they are others for each."""
    source = record.source
    seed = source.place.split(",")[0]
    return f"generated, {seed}" if source.kind == "generated" else source.kind


def _mapping(value: object, name: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    pairs = [part.split("=", 1) for part in str(value or "").split(",") if part]
    if all(len(pair) == 2 for pair in pairs):
        return {key.strip(): text for key, text in pairs}
    return {name: value}


def _steering(config: Mapping[str, Any]) -> str | None:
    """What the model's activations were moved by; equal for equal vectors, wherever they lay."""
    steering = (config.get("emo_hf") or {}).get("steering")
    if not isinstance(steering, Mapping):
        return _mapping(config.get("model_args"), "model_args").get("steer")
    return f"{steering.get('text')} ({steering.get('id')})"


def _chat_template(results: Mapping[str, Any]) -> str | None:
    """The template's short hash; "messages" where an API takes messages and renders them itself."""
    sha = results.get("chat_template_sha")
    if sha:
        return str(sha)[:12]
    return "messages" if results.get("chat_template") == "" else None


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    try:
        number = float(str(value))
    except ValueError:
        return str(value)
    return f"{number:g}" if f"{number:g}" != "nan" else str(value)
