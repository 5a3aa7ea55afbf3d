"""Settings: how a model was run, as far as that changes its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emo_harness.command_line import HIDDEN, is_secret
from emo_harness.resources import embedded_model
from emo_harness.runs.record import Record, RunArm

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
    "image_order",
    "control_image",
)


def settings_of(results: Mapping[str, Any], task: str, record: Record) -> dict[str, str]:
    """A task's settings by name, as text, from lm-eval's results; unknown ones are left out.

    Numbers are written one way (0, 0.0 and "0" are "0"), so that equal settings are equal text.
    """
    config = results.get("config", {})
    declared = results["configs"][task]
    generation = declared.get("generation_kwargs")
    named = {
        **arguments_of(config),
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
        **decodings(record.run_arms),
        "image_set": record.image_set,
        "image_order": record.image_order,
        "control_image": record.control_image,
        **{k: config[k] for k, usual in DEFAULT_SEEDS.items() if config.get(k, usual) != usual},
    }
    return {
        key: HIDDEN if is_secret(key) else _text(value)
        for key, value in named.items()
        if value not in (None, "")
    }


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`--model_args` by name; older versions of lm-eval log them as one text."""
    return _mapping(config.get("model_args"), "model_args")


def decodings(arms: Iterable[RunArm]) -> dict[str, str]:
    """How decoded stimuli were made, "" throughout where there are none.

    Arms of another decoding have the same ids and other texts, so that they are another run.
    """
    made = [arm.decoded for arm in arms if arm.decoded is not None and arm.kind == "stimulus"]

    def told(values: Iterable[object]) -> str:
        return "+".join(sorted({str(value) for value in values}))

    return {
        "decoded_in": told(plain_name(one.model) for one in made),
        "decoded_site": told(one.site for one in made),
        "decoded_pooling": told(one.pooling for one in made),
        "decoded_by": told(one.decoder for one in made),
        "decoded_vector": told(one.vector for one in made if one.vector in ("contrast", "mean")),
    }


def shows_images(settings: Mapping[str, str]) -> bool:
    """Whether the prompts asked so had images beside their text."""
    return "control_image" in settings


def plain_name(name: str) -> str:
    """A model's hub id; a local folder's own name, also of a model that comes with the package."""
    name = embedded_model(name)
    return Path(name).name if name.startswith((".", "/", "~")) or name.count("/") > 1 else name


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
        return arguments_of(config).get("steer")
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
