"""Shards: files of rows that appear whole, and tell by themselves whether they still are."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from emo_harness.activations.plan import Plan
from emo_harness.activations.store import Shard, sha256_of
from emo_harness.errors import UserError
from emo_harness.prefix import in_words
from emo_harness.whole_file import write_whole

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK_BYTES = 1 << 20
# Stands in a shard's header while the hash of what follows it is computed.
_NO_HASH = "0" * 64


def write_shard(
    folder: Path, plan: Plan, shard: int, rows: Mapping[str, torch.Tensor], n_missing: int
) -> Shard:
    """Write a shard, whole or not at all.

    Args:
        rows: by site, (n, n_layers, *shape) in the stored dtype.
        n_missing: shards that are missing, this one included, for the message.

    Raises:
        UserError: the disk is full, or cannot be written.
    """
    from safetensors.torch import save

    tensors = {site: values.contiguous() for site, values in rows.items()}
    unsigned = save(tensors, _signed(plan, shard, _NO_HASH))
    start = 8 + int.from_bytes(unsigned[:8], "little")
    after_header = memoryview(unsigned)[start:]
    own = hashlib.sha256(after_header).hexdigest()
    header = unsigned[:start].replace(_NO_HASH.encode(), own.encode())

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            file.write(header)
            file.write(after_header)

    path = folder / plan.file(shard)
    try:
        write_whole(path, write)
    except OSError as error:
        needed = in_words(plan.row_bytes * (plan.ends[-1] / len(plan.ends)) * n_missing)
        remains = f"{n_missing:,} of {len(plan.ends):,} shards, about {needed}"
        raise not_written(folder, plan.file(shard), remains, error) from error
    digest = hashlib.sha256(header)
    digest.update(after_header)
    return Shard(
        file=path.name,
        n_rows=plan.n_rows(shard),
        n_bytes=len(unsigned),
        sha256=digest.hexdigest(),
    )


def whole_shard(folder: Path, plan: Plan, shard: int) -> Shard | None:
    """A shard that is there and as it was written; None where it is missing or damaged."""
    path = folder / plan.file(shard)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                return None
            facts = json.loads(file.read(length)).get("__metadata__", {})
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except (OSError, ValueError, AttributeError):
        return None
    if facts != _signed(plan, shard, digest.hexdigest()):
        return None
    return Shard(
        file=path.name,
        n_rows=plan.n_rows(shard),
        n_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def sweep(folder: Path, plan: Plan, shard: int) -> None:
    """Remove what a killed process left of a shard beside it."""
    for partial in folder.glob(f".{plan.file(shard)}-*"):
        partial.unlink(missing_ok=True)


def _signed(plan: Plan, shard: int, sha256: str) -> dict[str, str]:
    """What a shard's header says of it; one entry, since several come in any order."""
    return {"capture": f"plan {plan.sha256}, shard {shard}, content {sha256}"}


def not_written(folder: Path, name: str, remains: str, error: OSError) -> UserError:
    """What is said where a file cannot be written.

    Args:
        remains: what is still to be written, this file included.
    """
    full = error.errno in FULL
    return UserError(
        f"writing {name} into {folder}",
        found="the disk is full" if full else f"{error.strerror or error}",
        expected=f"room for {remains}" if full else "a folder that can be written",
        fix="make room and give the same command again: what is there stays, and only what is "
        "missing is computed"
        if full
        else "see to the folder and give the same command again: what is there stays",
    )
