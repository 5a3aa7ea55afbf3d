"""Reading rows of vectors from a model, with the engine that suits it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from emo_harness.activations.engines import (
    ON_ACCELERATOR,
    ON_CPU,
    Engine,
    PackedEngine,
    PaddedEngine,
    SiteReader,
)
from emo_harness.activations.readings import Readings
from emo_harness.activations.row_buffer import DTYPES, RowBuffer
from emo_harness.errors import UserError
from emo_harness.prefix import PackedModel, Tokens, attention_window, why_unsupported
from emo_harness.prefix.limits import is_out_of_memory
from emo_harness.prefix.self_check import TOLERANCE

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel

log = logging.getLogger(__name__)

# Tokens of each of the three parts that the prompts of the self-check are made of.
CHECKED_TOKENS = 12

# What the self-check found of a model at some sites and layers: a model is read from many times.
_Asked = tuple[tuple[str, ...], tuple[int, ...]]
_verdicts: WeakKeyDictionary[Any, dict[_Asked, str | None]] = WeakKeyDictionary()


class RowReader:
    """Reads rows of vectors from a model.

    What prompts share is computed once where the model is among those that can be packed (see
    `prefix.why_unsupported`), its prompts fit its attention window, and both engines read the same
    from a few random prompts. All else is computed in padded batches.

    Args:
        loaded: the model.
        sites, layers: what is read; both exist.
        longest: tokens of the longest prompt.
        batch_tokens: computed together; None for what suits the device.
        packed: whether to try the packed engine at all.

    Attributes:
        why_padded: why prefixes are not shared; None where they are.
        computed_tokens: so far, padding included.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        sites: Sequence[str],
        layers: Sequence[int],
        *,
        longest: int,
        batch_tokens: int | None = None,
        packed: bool = True,
    ) -> None:
        self._model = loaded.model
        self._device: torch.device = loaded.model.get_input_embeddings().weight.device
        self._sites = SiteReader(loaded.layout, sites, layers)
        self._shapes = {site: tuple(loaded.layout.shape(site, layers)) for site in sites}
        standard, self._tree_tokens = ON_CPU if self._device.type == "cpu" else ON_ACCELERATOR
        self._batch_tokens = standard if batch_tokens is None else batch_tokens
        self.computed_tokens = 0
        self._packed: PackedModel | None = None
        self.why_padded = self._why_padded(longest) if packed else "it was not asked for"

    @property
    def engine(self) -> str:
        """The name of the engine in use."""
        return "packed" if self._packed else "padded"

    def read(
        self,
        sequences: Sequence[Tokens],
        readings: Readings,
        dtype: str,
        advance: Callable[[int], object] = lambda n_rows: None,
    ) -> dict[str, torch.Tensor]:
        """Read rows.

        Args:
            sequences: token ids of prompts.
            readings: the rows; `prompt` counts within `sequences`.
            dtype: of the result.
            advance: told how many rows are complete, pass by pass.

        Returns:
            By site, (n_rows, n_layers, *shape) on the host.

        Raises:
            NotFiniteError: an activation is NaN or infinite, or too large for `dtype`.
            UserError: there is no memory left, not even for one token at a time.
        """
        while True:
            told = 0
            averaged = bool((readings.after - readings.first > 1).any())
            n_layers = len(self._sites.layers)
            buffer = RowBuffer(
                len(readings), self._shapes, n_layers, DTYPES[dtype], averaged=averaged
            )
            try:
                for one in self._engine().passes(sequences, readings):
                    buffer.add(one)
                    self.computed_tokens += one.n_tokens
                    told += one.n_ended
                    advance(one.n_ended)
                return buffer.finished()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._batch_tokens == 1:
                    raise _no_memory() from error
            # Outside the handler, whose traceback keeps the failed pass's tensors alive.
            self._batch_tokens = max(1, self._batch_tokens // 2)
            log.warning("memory ran out; trying again, %d tokens at a time", self._batch_tokens)
            advance(-told)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _engine(self) -> Engine:
        if self._packed is None:
            return PaddedEngine(self._sites, self._model, self._batch_tokens)
        return PackedEngine(self._sites, self._packed, self._batch_tokens, self._tree_tokens)

    def _why_padded(self, longest: int) -> str | None:
        reason = why_unsupported(self._model)
        if reason:
            return reason
        window = attention_window(self._model)
        if window is not None and longest > window:
            return f"a prompt of {longest:,} tokens exceeds its attention window of {window:,}"
        packed = PackedModel(self._model, self._device)
        verdicts = _verdicts.setdefault(self._model, {})
        asked = (self._sites.sites, self._sites.layers)
        if asked not in verdicts:
            verdicts[asked] = self._why_different(packed)
        self._packed = None if verdicts[asked] else packed
        return verdicts[asked]

    def _why_different(self, packed: PackedModel) -> str | None:
        """What the engines read otherwise from a few random prompts; None if nothing."""
        sequences = _branching_prompts(packed.vocabulary)
        lengths = [len(sequence) for sequence in sequences]
        prompt = np.repeat(np.arange(len(sequences)), lengths)
        token = np.concatenate([np.arange(length) for length in lengths])
        readings = Readings(prompt, token, token + 1)
        found, expected = (
            _float32_rows(engine, sequences, readings)
            # So small that chains, trees and several passes occur, and few enough to cost little.
            for engine in (
                PackedEngine(self._sites, packed, 2 * CHECKED_TOKENS + 8, CHECKED_TOKENS + 1),
                PaddedEngine(self._sites, self._model, 16 * CHECKED_TOKENS),
            )
        )
        tolerance = TOLERANCE.get(next(self._model.parameters()).dtype, 5e-2)
        for site in expected:
            difference = (found[site] - expected[site]).abs().flatten(2).amax(dim=(0, 2))
            allowed = tolerance * expected[site].abs().flatten(2).amax(dim=(0, 2)).clamp(min=1)
            # Written so that NaN counts as different.
            for place in (~(difference <= allowed)).nonzero().flatten().tolist():
                layer = self._sites.layers[place]
                return f"packed, {site} of layer {layer} is off by {float(difference[place]):.2g}"
        return None


def _branching_prompts(vocabulary: int) -> list[Tokens]:
    """Prompts that branch twice, one a prefix of others."""
    drawn = np.random.default_rng(0).integers(0, vocabulary, (7, CHECKED_TOKENS))
    a, b, c, d, e, f, g = drawn.astype(np.int32)
    return [np.concatenate(parts) for parts in ((a,), (a, b, c), (a, b, d), (a, e, f), (g,))]


def _float32_rows(
    engine: Engine, sequences: Sequence[Tokens], readings: Readings
) -> dict[str, torch.Tensor]:
    rows: dict[str, torch.Tensor] = {}
    for one in engine.passes(sequences, readings):
        for site, vectors in one.vectors.items():
            if site not in rows:
                rows[site] = torch.full((len(readings), *vectors.shape[1:]), torch.nan)
            rows[site][torch.from_numpy(one.rows)] = vectors.float().cpu()
    return rows


def _no_memory() -> UserError:
    return UserError(
        "running the model",
        found="no memory left, even for one token at a time",
        expected="room for the model and one prompt",
        fix="use a smaller model, or a smaller dtype with --model_dtype",
    )
