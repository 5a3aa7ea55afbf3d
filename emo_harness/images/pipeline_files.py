"""The files of a text-to-image pipeline: which one it is, and whether it may be loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emo_harness.errors import UserError, quoted
from emo_harness.extras import import_extra
from emo_harness.model_identity import hub_commit, loaded_identities, weights_files
from emo_harness.resources import embedded_model

INDEX = "model_index.json"
# Read at a time; and after so long a bar tells that weights are read.
_BLOCK_BYTES = 1 << 22
_SILENT_S = 3.0
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")


@dataclass(frozen=True)
class PipelineIdentity:
    """Which pipeline it is, as far as its files tell; known before it is loaded.

    Attributes:
        model: repository on the hub, or the folder's own name.
        commit: of the repository; None for a folder.
        weights_sha256: of the files of weights and their configurations; None for a repository.
        parts_sha256: of the tokenizers' files, the index and the scheduler's configuration.
    """

    model: str
    commit: str | None
    weights_sha256: str | None
    parts_sha256: str | None


def identify_pipeline(name: str, revision: str | None = None) -> PipelineIdentity:
    """Which pipeline a name stands for now.

    Args:
        name: a folder in diffusers' format, a repository on the hub, or an embedded pipeline.
        revision: branch, tag or commit on the hub.

    Raises:
        UserError: a folder that holds no pipeline.
    """
    folder = Path(embedded_model(name))
    if not folder.is_dir():
        return PipelineIdentity(name, hub_commit(name, revision or "main"), None, None)
    _index(folder, f"loading the pipeline {name}")
    files = loaded_identities({"pretrained": str(folder)})
    parts = [files.get("tokenizer", "")]
    parts += [_content(folder / one) for one in (INDEX, "scheduler/scheduler_config.json")]
    return PipelineIdentity(
        model=folder.resolve().name,
        commit=None,
        weights_sha256=weights_sha256(folder),
        parts_sha256=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
    )


def snapshot_sha256(repository: str, commit: str | None) -> str | None:
    """SHA-256 of the weights that a repository was loaded from, in the hub's local cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, INDEX, revision=commit)
    if not isinstance(found, str):
        return None
    return weights_sha256(Path(found).parent)


def weights_sha256(folder: Path) -> str:
    """SHA-256 (hex) over names and SHA-256 of the files of weights and their configurations.

    Each is read to its end, once in a process as long as its size and time stay. Only names count,
    not where they lie, so that a copy is the same.

    Raises:
        UserError: a file cannot be read.
    """
    try:
        files = [(path, path.stat()) for path in weights_files(folder)]
        return _whole_sha256(tuple((path, s.st_size, s.st_mtime_ns) for path, s in files))
    except OSError as error:
        raise UserError(
            f"reading the weights in {folder}",
            found=f"{error.strerror or error}",
            expected="files that can be read",
            fix="check the folder and its rights, or download the pipeline again",
        ) from error


def refuse_unsafe(
    folder: Path, doing: str, *, trust_remote_code: bool, variant: str | None = None
) -> None:
    """Refuse a folder that would run code of its own, or that has weights as pickles alone.

    Raises:
        UserError: it is so, or it is no pipeline at all.
    """
    index = _index(folder, doing)
    own_code = _own_code(folder, index)
    if own_code and not trust_remote_code:
        raise UserError(
            doing,
            found=f"code of the pipeline's own ({quoted(own_code, 3)})",
            expected="parts that diffusers and transformers know",
            fix="read that code, and add --trust-remote-code if you trust it",
        )
    for name in index:
        files = [path for path in folder.glob(f"{name}/*") if path.is_file()]
        pickles = sorted(path.name for path in files if path.suffix in PICKLES)
        if pickles and not any(path.suffix == ".safetensors" for path in files):
            raise pickles_alone(doing, f"{name}/{pickles[0]}", variant)


def missing_parts(folder: Path) -> list[str]:
    """Parts of a pipeline's index that have no folder."""
    index = _index(folder, f"loading the pipeline {folder}")
    parts = [n for n, v in index.items() if isinstance(v, list) and not n.startswith("_") and v[0]]
    return [name for name in parts if not (folder / name).is_dir()]


def pickles_alone(doing: str, found: str, variant: str | None) -> UserError:
    """The refusal of weights as pickles."""
    asked = f" of the variant {variant!r}" if variant else ""
    return UserError(
        doing,
        found=f"weights{asked} as pickles alone ({found}), which can run any code",
        expected="weights as safetensors",
        fix="choose a revision with safetensors, or convert it where you trust the file: "
        "load it with diffusers and save_pretrained(FOLDER, safe_serialization=True)",
    )


def _index(folder: Path, doing: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise UserError(
            doing,
            found=f"no {INDEX}" if missing else f"{INDEX} that cannot be read ({error})",
            expected="a folder as diffusers' save_pretrained writes it",
            fix=f"give the folder that holds {INDEX}",
        ) from error
    if not isinstance(found, dict):
        raise UserError(
            doing, found=f"{INDEX} without an object", expected="a pipeline", fix="save it again"
        )
    return found


def _own_code(folder: Path, index: Mapping[str, Any]) -> list[str]:
    """Parts whose class neither diffusers nor transformers has."""
    pipelines = import_extra("diffusers", "generating images").pipelines
    known = {"diffusers", "transformers", *dir(pipelines)}
    found = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("**/*.py"))]
    for name, value in index.items():
        if name == "_class_name" and not isinstance(value, str):
            found.append(f"{name} {value}")
        is_part = isinstance(value, list) and not name.startswith("_") and len(value) == 2
        if is_part and value[0] is not None and value[0] not in known:
            found.append(f"{name} from {value[0]}")
    return found


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@lru_cache(maxsize=4)  # What is identified before it is loaded is not read again.
def _whole_sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files as they were: path, size, time of the last change (ns)."""
    n_bytes = sum(size for _, size, _ in files)
    digest = hashlib.sha256()
    with tqdm(
        total=n_bytes,
        desc="reading weights",
        unit="B",
        unit_scale=True,
        delay=_SILENT_S,
        leave=False,
        disable=None,
    ) as bar:
        for path, _, _ in files:
            own = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    own.update(block)
                    bar.update(len(block))
            digest.update(f"{path.name}\0{own.hexdigest()}\n".encode())
    return digest.hexdigest()
