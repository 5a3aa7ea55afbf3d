"""Capturing activations: prompts in, a store or arrays out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from emo_harness.activations.asked import Asked
from emo_harness.activations.encoding import shown
from emo_harness.activations.plan import (
    Plan,
    prompts_sha256,
    row_bytes,
    settled,
    shard_ends,
    weights_id,
)
from emo_harness.activations.processes import Processes, wait_until
from emo_harness.activations.prompt_rows import PromptRows, prompt_rows
from emo_harness.activations.row_buffer import NotFiniteError
from emo_harness.activations.shards import sweep, whole_shard, write_shard
from emo_harness.activations.store import Activations, Shard, StoredDtype, open_activations
from emo_harness.activations.store_files import is_complete, manifest_in, manifest_of, write_rest
from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel

Floats = NDArray[np.float32]


@dataclass
class Work:
    """What a capture took.

    Attributes:
        engine: "packed" where shared prefixes were computed once, else "padded".
        why_padded: why they were not.
        naive_tokens: of all prompts.
        distinct_tokens: of their trie.
        computed_tokens: by this process and this time, padding included.
        n_shards, n_computed: of the store, and those that this process made this time.
        seconds: in all.
    """

    engine: str = ""
    why_padded: str | None = None
    naive_tokens: int = 0
    distinct_tokens: int = 0
    computed_tokens: int = 0
    n_shards: int = 0
    n_computed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Vectors:
    """Captured vectors in memory.

    Attributes:
        values: by site, (n_rows, n_layers, *shape) float32.
        index: (n_rows) as `Activations.index`, in the prompts' own order.
        layers: of the model.
    """

    values: dict[str, Floats]
    index: pd.DataFrame
    layers: tuple[int, ...]


def capture(
    loaded: LoadedModel,
    prompts: pd.DataFrame,
    folder: Path,
    *,
    sites: Sequence[str] = ("value",),
    layers: Sequence[int] | None = None,
    position: str = "last",
    dtype: StoredDtype = "float16",
    corpus_facts: Mapping[str, Any] | None = None,
    batch_tokens: int | None = None,
    packed: bool = True,
    processes: Processes | None = None,
    progress: bool = True,
    work: Work | None = None,
) -> Activations:
    """Capture activations of prompts into a store, or go on with a capture that was cut short.

    Args:
        loaded: the model.
        prompts: `text`; `span_first` and `span_last` (characters), where a span is named; every
            other column is a fact and goes into the index.
        folder: where to; a folder with another capture is refused.
        sites: see `sites.SITES`.
        layers: of the model; all that have these sites by default.
        position: see `readings_at`.
        dtype: as stored.
        corpus_facts: about the prompts, for the manifest; JSON values.
        batch_tokens: computed together; None for what suits the device.
        packed: whether shared prefixes may be computed once.
        processes: those that make the store together; None for what the environment says.
        progress: show a bar.
        work: is told what the capture took.

    Returns:
        The complete store.

    Raises:
        UserError: prompts, sites or layers that cannot be captured, a folder with another capture,
            activations that are not finite, a full disk.
    """
    started = time.perf_counter()
    work = Work() if work is None else work
    processes = Processes.of_environment() if processes is None else processes
    asked = Asked.of(loaded, sites, layers, dtype)
    rows = prompt_rows(loaded, prompts, position)
    plan = settled(_plan(loaded, asked, rows, position, dtype), folder)
    work.n_shards = len(plan.ends)
    work.naive_tokens, work.distinct_tokens = rows.naive_tokens, rows.distinct_tokens
    own = [shard for shard in range(len(plan.ends)) if processes.makes(shard)]
    there = {shard: whole_shard(folder, plan, shard) for shard in own}
    known = {shard: found for shard, found in there.items() if found}
    missing = [shard for shard in own if shard not in known]
    slowest_s = 0.0
    if missing:
        reader = asked.reader(loaded, rows, batch_tokens, packed)
        work.engine, work.why_padded = reader.engine, reader.why_padded
        n_own, n_done = (sum(map(plan.n_rows, some)) for some in (own, known))
        with _bar(n_own, n_done, progress) as bar:
            for n_made, shard in enumerate(missing):
                begun = time.perf_counter()
                sweep(folder, plan, shard)
                first_row = plan.rows(shard).start
                try:
                    made = reader.read(*rows.part(plan.rows(shard)), dtype, bar.update)
                except NotFiniteError as error:
                    _refuse_not_finite(error, rows, first_row, asked, dtype)
                known[shard] = write_shard(folder, plan, shard, made, len(missing) - n_made)
                work.n_computed, work.computed_tokens = n_made + 1, reader.computed_tokens
                slowest_s = max(slowest_s, time.perf_counter() - begun)
    if processes.is_first:
        _finish(folder, loaded, rows, plan, known, corpus_facts or {}, slowest_s)
    else:
        _await_first(folder, plan, known, slowest_s)
    work.seconds = time.perf_counter() - started
    return open_activations(folder)


def vectors(
    loaded: LoadedModel,
    prompts: pd.DataFrame,
    *,
    sites: Sequence[str] = ("value",),
    layers: Sequence[int] | None = None,
    position: str = "last",
    batch_tokens: int | None = None,
    packed: bool = True,
    progress: bool = False,
) -> Vectors:
    """Capture activations of a few prompts into memory; see `capture`.

    Returns:
        Rows in the order of the prompts; one per prompt, unless the position is `all`.

    Raises:
        UserError: as `capture`, files aside.
    """
    asked = Asked.of(loaded, sites, layers, "float32")
    rows = prompt_rows(loaded, prompts, position)
    reader = asked.reader(loaded, rows, batch_tokens, packed)
    try:
        with _bar(len(rows), 0, progress) as bar:
            read = reader.read(*rows.part(slice(None)), "float32", bar.update)
    except NotFiniteError as error:
        _refuse_not_finite(error, rows, 0, asked, "float32")
    order = np.argsort(rows.readings.prompt, kind="stable")
    values = {site: tensor.numpy()[order] for site, tensor in read.items()}
    return Vectors(values, rows.index().iloc[order].reset_index(drop=True), asked.layers)


def _plan(
    loaded: LoadedModel, asked: Asked, rows: PromptRows, position: str, dtype: StoredDtype
) -> Plan:
    facts = loaded.facts
    shapes = {site: list(shape) for site, shape in asked.shapes.items()}
    return Plan(
        model=f"{facts.identity or weights_id(loaded.model)}, computed in {facts.dtype}",
        tokenizer=loaded.tokenizer_id,
        prompts=prompts_sha256(rows.prompts),
        sites=list(asked.sites),
        layers=list(asked.layers),
        position=position,
        dtype=dtype,
        shapes=shapes,
        ends=shard_ends(rows.group_ends, row_bytes(shapes, len(asked.layers), dtype)),
    )


def _bar(n_rows: int, n_done: int, progress: bool) -> Any:
    """Rows to go, shown where there is a terminal."""
    shows = None if progress else True
    return tqdm(total=n_rows, initial=n_done, desc="capturing", unit="row", disable=shows)


def _finish(
    folder: Path,
    loaded: LoadedModel,
    rows: PromptRows,
    plan: Plan,
    known: dict[int, Shard],
    corpus_facts: Mapping[str, Any],
    slowest_s: float,
) -> None:
    """Wait for the shards of other processes, then write what stands beside them."""

    def n_missing() -> int:
        for shard in range(len(plan.ends)):
            found = None if shard in known else whole_shard(folder, plan, shard)
            if found:
                known[shard] = found
        return len(plan.ends) - len(known)

    wait_until(n_missing, "shards", slowest_s)
    shards = [known[shard] for shard in range(len(plan.ends))]
    if not is_complete(folder, shards):
        write_rest(folder, loaded, rows, manifest_of(loaded, plan, shards, corpus_facts))


def _await_first(folder: Path, plan: Plan, known: Mapping[int, Shard], slowest_s: float) -> None:
    """Wait until the first process has written the manifest, with our shards as they are now."""

    def n_missing() -> int:
        manifest = manifest_in(folder)
        told = manifest.shards if manifest else []
        is_there = len(told) == len(plan.ends) and all(told[i] == known[i] for i in known)
        shards = (folder / plan.file(shard) for shard in range(len(plan.ends)))
        return 0 if is_there else 1 + sum(not path.is_file() for path in shards)

    wait_until(n_missing, "the manifest and shards", slowest_s)


def _refuse_not_finite(
    error: NotFiniteError, rows: PromptRows, first_row: int, asked: Asked, dtype: str
) -> NoReturn:
    prompt = int(rows.readings.prompt[first_row + error.row])
    where = f"{error.site} of layer {asked.layers[error.layer]}"
    overflows = np.isfinite(error.largest)
    raise UserError(
        f"capturing prompt {prompt} ({shown(rows.encoded.texts[prompt])})",
        found=f"{where} is as large as {error.largest:.4g}, which {dtype} cannot hold"
        if overflows
        else f"{where} is NaN or infinite",
        expected="finite activations",
        fix="store them with --dtype bfloat16 or float32, into another --out"
        if overflows
        else "compute in another dtype (float32 is the safest), check the model's weights, or "
        "leave this prompt out; finished shards stay",
    ) from error
