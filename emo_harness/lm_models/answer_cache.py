"""`--use_cache PATH` of `emo run`: one file of answers per model and settings.

lm-eval's cache knows a request by its arguments alone, so two models that share a file answer for
each other. Here the file's name carries a hash of everything else that an answer depends on. The
prompt, hence the stimulus, is among the arguments and stays in lm-eval's hands.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emo_harness.command_line import HIDDEN, is_secret, without_secrets
from emo_harness.errors import UserError
from emo_harness.model_identity import identities
from emo_harness.resources import embedded_model
from emo_harness.steer import read_spec

log = logging.getLogger(__name__)

# Raised when a change to our code may change an answer: old files are then left alone.
CODE_SCHEMA = 2
KEY_DIGITS = 12
SQLITE_HEADER = b"SQLite format 3\0"

# Where a model runs, how fast, and who asks. Batches and devices change the last bits of an
# answer, but not what is being computed; a run that memory stopped is resumed with another batch
# size or on another device, and a resumed run batches what is left differently in any case. What
# is not in this list is in the key.
CHANGES_NO_ANSWER = frozenset(
    {
        *("batch_size", "max_batch_size", "memory_budget", "max_num_seqs", "num_concurrent"),
        *("device", "device_map", "parallelize", "data_parallel_size", "dp_size"),
        *("max_memory_per_gpu", "max_cpu_memory", "offload_folder", "low_cpu_mem_usage"),
        *("gpu_memory_utilization", "mem_fraction_static", "swap_space", "cpu_offload_gb"),
        *(
            "cache_dir",
            "download_dir",
            "enable_prefix_caching",
            "max_retries",
            "timeout",
            "verify_certificate",
        ),
        *("ca_cert_path", "auth_token", "api_key", "token", "hf_token", "use_auth_token"),
    }
)


@dataclass(frozen=True)
class AnswerKey:
    """What an answer depends on beside its request.

    Attributes:
        model: lm-eval's name of it.
        model_args: the model's arguments, without those that change no answer. dtype, revision,
            tokenizer, adapters and steering are among them.
        identities: what the names among them stand for; see `identities`.
        gen_kwargs: generation settings of the command line.
        seeds: of Python, numpy and torch, from which a model may sample. The seed of worked
            examples is left out, they stand in the prompt.
        chat: how prompts were put into a chat. Text, mostly, but a model may treat it otherwise.
        versions: of the packages that make answers.
        code_schema: `CODE_SCHEMA`.
    """

    model: str
    model_args: Mapping[str, Any]
    identities: Mapping[str, str | None]
    gen_kwargs: Mapping[str, Any]
    seeds: Sequence[int | None]
    chat: Mapping[str, Any]
    versions: Mapping[str, str | None]
    code_schema: int

    @property
    def sha256(self) -> str:
        written = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(written.encode()).hexdigest()

    def as_json(self) -> str:
        """For people to read: without secrets."""
        told = {"sha256": self.sha256, **asdict(self)}
        return json.dumps(_without_secrets(told), indent=2, default=str)


def answer_key(
    model: str,
    model_args: Mapping[str, Any],
    *,
    gen_kwargs: Mapping[str, Any] | None = None,
    seeds: Sequence[int | None] | None = None,
    chat: Mapping[str, Any] | None = None,
) -> AnswerKey:
    """The key of a run.

    Args:
        model: `--model`.
        model_args: `--model_args`, as the model will get them.
        gen_kwargs: `--gen_kwargs`.
        seeds: `--seed`: Python's, numpy's, torch's, the worked examples'.
        chat: `apply_chat_template`, `system_instruction`, `fewshot_as_multiturn`.
    """
    kept = {name: value for name, value in model_args.items() if name not in CHANGES_NO_ANSWER}
    if kept.get("steer"):
        # What is added where, whatever its file is called.
        kept["steer"] = read_spec(str(kept["steer"])).load().as_json()
    named = dict(kept)
    if isinstance(kept.get("pretrained"), str):
        named["pretrained"] = embedded_model(kept["pretrained"])
    engine = {"vllm": "vllm", "vllm-vlm": "vllm", "sglang": "sglang"}.get(model)
    versions = {"lm_eval": _version("lm_eval"), "transformers": _version("transformers", parts=2)}
    if engine:
        versions[engine] = _version(engine, parts=2)
    return AnswerKey(
        model=model,
        model_args=kept,
        identities=identities(named),
        gen_kwargs=gen_kwargs or {},
        seeds=tuple(seeds or ())[:3],
        chat=chat or {},
        versions=versions,
        code_schema=CODE_SCHEMA,
    )


def keyed_path(path: str, key: AnswerKey) -> str:
    """The path that lm-eval is given instead; it appends `_rank0.db`.

    Example:
        >>> keyed_path("kept/answers", answer_key("dummy", {}))[:13]
        'kept/answers-'
    """
    return f"{Path(path).expanduser()}-{key.sha256[:KEY_DIGITS]}"


def prepare_cache(path: str, key: AnswerKey) -> str:
    """Put `PATH-key.json`, which says what the key stands for, beside the answers to come.

    Returns:
        `keyed_path`.

    Raises:
        UserError: the folder cannot be written, or the file holds something else.
    """
    keyed = keyed_path(path, key)
    answers, told = Path(f"{keyed}_rank0.db"), Path(f"{keyed}.json")
    try:
        told.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(told, key.as_json() + "\n")
        is_new = not answers.exists()
        is_ours = is_new or _holds_answers(answers)
    except OSError as error:
        raise UserError(
            f"keeping answers at --use_cache {path}",
            found=f"{error.strerror or error}: {error.filename or told.parent}",
            expected="a folder that can be written",
            fix="give the path of a file in such a folder",
        ) from error
    if not is_ours:
        raise UserError(
            f"reading kept answers at --use_cache {path}",
            found=f"{answers}, which is not an SQLite file",
            expected="what an earlier run wrote, or nothing",
            fix="remove the file, or give another path",
        )
    log.info(
        "answers are %s %s (%s says of which model and settings)",
        "kept in the new file" if is_new else "taken from and kept in",
        answers,
        told.name,
    )
    unseen = [name for name, identity in key.identities.items() if identity is None]
    if unseen:
        log.warning(
            "the revision behind %s cannot be seen from here: when it changes, give --use_cache "
            "another path",
            ", ".join(f"{name}={key.model_args.get(name)}" for name in unseen),
        )
    return keyed


def _without_secrets(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    if isinstance(value, str):
        return HIDDEN if is_secret(name) else without_secrets(value)
    return value


def _version(package: str, parts: int = 9) -> str | None:
    try:
        return ".".join(version(package).split(".")[:parts])
    except PackageNotFoundError:
        return None


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _holds_answers(path: Path) -> bool:
    with path.open("r+b") as file:
        return file.read(len(SQLITE_HEADER)) in (b"", SQLITE_HEADER)
