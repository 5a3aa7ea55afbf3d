"""What stands behind a model's name: the content of a folder, or a commit on the hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

# Model arguments that may name a repository on the hub.
HUB_ARGUMENTS = ("pretrained", "tokenizer", "peft", "delta", "lora_local_path")
# A file up to this size is read whole; of a larger one its ends, which hold the header of
# safetensors, and blocks spread over it.
WHOLE_BYTES = 32 << 20
END_BYTES = 1 << 20
BLOCK_BYTES = 4096
N_BLOCKS = 64
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")
_PROCESSORS = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
_TOKENIZERS = ("tokenizer", "vocab", "merges", "special_tokens_map", "added_tokens", "spiece")


def identities(model_args: Mapping[str, Any]) -> dict[str, str | None]:
    """What each argument that names a model, a tokenizer or any local file stands for.

    Args:
        model_args: as lm-eval hands them to the model.

    Returns:
        By argument "content <sha256>" or "commit <id>"; None where a name cannot be resolved from
        here, as that of a model behind a server.
    """
    is_served = "base_url" in model_args
    found: dict[str, str | None] = {}
    for name, value in _strings(model_args):
        path = _existing(value)
        if path is not None:
            found[name] = f"content {content_id(path)}"
        elif name == "model" or (name == "pretrained" and is_served):
            found[name] = None
        elif name in HUB_ARGUMENTS:
            commit = hub_commit(value, _revision(name, model_args), model_args.get("cache_dir"))
            found[name] = commit and f"commit {commit}"
    return found


def loaded_identities(model_args: Mapping[str, Any]) -> dict[str, str]:
    """What was just loaded, so that it is known again wherever it lies: `identities` for a run.

    Of a folder the files of weights, those of the tokenizer and those of the processor, which makes
    what a model sees of an image, count apart, and no file's time, so that a copy is the same; of a
    repository the commit in the hub's local cache, which is not asked. What cannot be told, or is
    not there, is left out.

    Returns:
        By "pretrained", "tokenizer", "processor" and "peft": "files <sha256>" or "commit <id>".
    """
    args = dict(model_args)
    for name, other in (("tokenizer", "tokenizer_path"), ("peft", "lora_local_path")):
        args[name] = args.get(name) or args.get(other)
    args["tokenizer"] = args["tokenizer"] or args.get("pretrained")
    parts = {"pretrained": _is_weights, "tokenizer": _is_tokenizer, "peft": _is_weights}
    found: dict[str, str] = {}
    for name, belongs in parts.items():
        value = args.get(name)
        if not isinstance(value, str) or not value:
            continue
        path = _existing(value)
        if path is not None:
            found[name] = f"files {_parts_id(path, belongs)}"
            if name == "tokenizer" and any((path / file).is_file() for file in _PROCESSORS):
                found["processor"] = f"files {_parts_id(path, _PROCESSORS.__contains__)}"
            continue
        of_model = name == "tokenizer" and value == args.get("pretrained")
        revision = _revision("pretrained" if of_model else name, args)
        commit = _cached_commit(value, revision, args.get("cache_dir"))
        if commit:
            found[name] = f"commit {commit}"
    return found


def _parts_id(path: Path, belongs: Callable[[str], bool]) -> str:
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else _files(path):
        if path.is_file() or belongs(file.name):
            digest.update(f"{file.name}\0{_file_id(file, with_time=False)}\n".encode())
    return digest.hexdigest()


def _is_weights(name: str) -> bool:
    return name.endswith(_WEIGHTS) or name in ("config.json", "adapter_config.json")


def _is_tokenizer(name: str) -> bool:
    return name.startswith(_TOKENIZERS) or name.endswith((".model", ".tiktoken"))


def weights_files(folder: Path) -> list[Path]:
    """A folder's files of weights and their configurations, in a fixed order."""
    return [file for file in _files(folder) if _is_weights(file.name)]


def content_id(path: Path) -> str:
    """A hash of a file or of a folder's files, however large, within about a second.

    Files above `WHOLE_BYTES` are known by size, time, ends and spread blocks: training changes
    nearly every weight, and tools that preserve size and time do not preserve those. The names of
    files count; their folder's does not. Hidden files and model cards are left out.
    """
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(_file_id(path).encode())
        return digest.hexdigest()
    for file in _files(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_file_id(file)}\n".encode())
    base = _base_of_adapter(path)
    if base:
        digest.update(f"base {base}".encode())
    return digest.hexdigest()


def hub_commit(name: str, revision: str, cache_dir: str | None = None) -> str | None:
    """The commit that loading `revision` of a repository takes: the hub's, else the local cache's.

    The hub is asked first because loading asks it too, and moves on to a newer commit where there
    is one.
    """
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(name, revision=revision, timeout=10).sha
    except Exception:
        # Offline, unknown, refused, or no repository's name: whatever keeps the hub from telling,
        # loading falls back to the cache.
        return _cached_commit(name, revision, cache_dir)


def _cached_commit(name: str, revision: str, cache_dir: str | None) -> str | None:
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import constants

    folder = Path(cache_dir or constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    try:
        return (folder / "refs" / revision).read_text("utf-8").strip()
    except (OSError, ValueError):
        return None


def _strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every string among nested arguments, with its place."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{name}.{index}")


def _existing(value: str) -> Path | None:
    try:
        return Path(value) if value and Path(value).exists() else None
    except (OSError, ValueError):
        # Too long, or with characters that no path has: some other text.
        return None


def _revision(name: str, model_args: Mapping[str, Any]) -> str:
    of_tokenizer = model_args.get("tokenizer_revision") if name == "tokenizer" else None
    return str(of_tokenizer or model_args.get("revision") or "main")


def _files(folder: Path) -> Iterator[Path]:
    """A folder's files, in a fixed order; links are followed, each folder once."""
    seen = {folder.resolve()}
    for place, folders, names in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            target = (Path(place) / name).resolve()
            if not name.startswith(".") and target not in seen:
                seen.add(target)
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith(".md"):
                yield Path(place) / name


def _file_id(path: Path, *, with_time: bool = True) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size <= WHOLE_BYTES:
                return hashlib.sha256(file.read()).hexdigest()
            time = f"{status.st_mtime_ns} " if with_time else ""
            return f"{status.st_size} {time}{_sampled(file, status.st_size)}"
    except OSError:
        # The model cannot read it either.
        return "unreadable"


def _sampled(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256(file.read(END_BYTES))
    step = (size - 2 * END_BYTES) // N_BLOCKS
    for index in range(N_BLOCKS):
        file.seek(END_BYTES + index * step)
        digest.update(file.read(BLOCK_BYTES))
    file.seek(-END_BYTES, os.SEEK_END)
    digest.update(file.read())
    return digest.hexdigest()


def _base_of_adapter(folder: Path) -> str | None:
    """transformers loads an adapter's folder on the base model that its configuration names."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str):
        return None
    path = _existing(name)
    if path is not None and path.resolve() != folder.resolve():
        return content_id(path)
    return hub_commit(name, str(config.get("revision") or "main"))
