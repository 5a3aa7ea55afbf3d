"""A model run plainly over sequences, with or without steering: next tokens and continuations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.sites import Layout
from emo_harness.errors import UserError
from emo_harness.steer.steering import Steering

# Tokens that are computed together, and the most numbers of logits among them.
ON_CPU, ON_ACCELERATOR = 1024, 8192
MOST_LOGITS = 1 << 27
Floats = NDArray[np.float64]
Tokens = NDArray[np.int32]
_WINDOWS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


@dataclass(frozen=True)
class Plain:
    """A model that computes whole sequences in batches, each padded on the right.

    Attributes:
        model: a transformers causal language model in evaluation mode.
        layout: where its sites are.
        advance: told the sequences of each pass.
    """

    model: Any
    layout: Layout
    advance: Callable[[int], object] = lambda n: None

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    def next_log_probabilities(
        self, prompts: Sequence[Tokens], steering: Steering | None = None
    ) -> torch.Tensor:
        """Log-probabilities of the token after each prompt.

        Returns:
            (n, vocabulary) float32, on the CPU.

        Raises:
            UserError: a prompt longer than the context window, or NaN.
        """
        found: dict[int, torch.Tensor] = {}
        self._require_room(prompts)
        for places, batch in self._batches(prompts):
            logits = self._logits(batch, [len(one) for one in batch], steering)
            ends = torch.tensor([len(one) - 1 for one in batch], device=logits.device)
            last = logits[torch.arange(len(batch), device=logits.device), ends]
            found.update(zip(places, last.float().log_softmax(dim=-1).cpu(), strict=True))
        return _finite(torch.stack([found[place] for place in range(len(prompts))]))

    def scores(
        self,
        prompts: Sequence[Tokens],
        continuations: Sequence[Tokens],
        steering: Steering | None = None,
    ) -> Floats:
        """Log-probabilities of continuations, each after its prompt.

        Returns:
            (n,) nats, of the whole continuation.

        Raises:
            UserError: a sequence longer than the context window, or NaN.
        """
        sequences = [
            np.concatenate([prompt, continuation[:-1]]).astype(np.int32)
            for prompt, continuation in zip(prompts, continuations, strict=True)
        ]
        self._require_room(sequences)
        found = np.empty(len(sequences))
        for places, batch in self._batches(sequences):
            ends = [len(prompts[place]) for place in places]
            logits = self._logits(batch, ends, steering)
            for row, (place, end) in enumerate(zip(places, ends, strict=True)):
                targets = torch.from_numpy(continuations[place].astype(np.int64))
                wanted = logits[row, end - 1 : end - 1 + len(targets)].float().log_softmax(dim=-1)
                of_targets = wanted.gather(1, targets.to(wanted.device)[:, None])
                found[place] = float(of_targets.double().sum())
        _finite(torch.from_numpy(found))
        return found

    def _logits(
        self, batch: Sequence[Tokens], ends: Sequence[int], steering: Steering | None
    ) -> torch.Tensor:
        """(n, longest, vocabulary)."""
        ids, mask = padded(batch, self.device)
        inside: AbstractContextManager[None] = (
            nullcontext() if steering is None else steering.scoring(self.layout, ends)
        )
        with torch.no_grad(), inside:
            return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits

    def _batches(self, sequences: Sequence[Tokens]) -> Iterator[tuple[list[int], list[Tokens]]]:
        """Places and sequences of like length."""
        at_a_time = ON_CPU if self.device.type == "cpu" else ON_ACCELERATOR
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        most = max(1, min(at_a_time, MOST_LOGITS // vocabulary))
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        while order:
            n = max(1, most // max(1, len(sequences[order[0]])))
            places, order = order[:n], order[n:]
            yield places, [sequences[place] for place in places]
            self.advance(len(places))

    def _require_room(self, sequences: Sequence[Tokens]) -> None:
        window = context_window(self.layout)
        for index, one in enumerate(sequences):
            if window is not None and len(one) > window:
                raise UserError(
                    f"running prompt {index}",
                    found=f"{len(one):,} tokens",
                    expected=f"at most the {window:,} of the model's context window",
                    fix="shorten the prompt, or ask for shorter continuations",
                )


def context_window(layout: Layout) -> int | None:
    """The most tokens that a model takes, as its configuration says; None if it does not."""
    config = layout.base.config
    known = [getattr(config, name, None) for name in _WINDOWS]
    return next((int(window) for window in known if isinstance(window, int)), None)


def padded(
    batch: Sequence[Tokens], device: torch.device, *, left: bool = False, filler: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences as one (n, longest) tensor of token ids, and the mask of what is theirs."""
    longest = max(map(len, batch))
    ids = torch.full((len(batch), longest), filler, dtype=torch.int64)
    mask = torch.zeros((len(batch), longest), dtype=torch.int64)
    for row, tokens in enumerate(batch):
        place = slice(longest - len(tokens), None) if left else slice(0, len(tokens))
        ids[row, place] = torch.from_numpy(np.asarray(tokens, np.int64))
        mask[row, place] = 1
    return ids.to(device), mask.to(device)


def _finite(found: torch.Tensor) -> torch.Tensor:
    """Raise on NaN; -inf is a probability of 0."""
    if bool(found.isnan().any()):
        raise UserError(
            "running the model",
            found="NaN among its logits",
            expected="numbers",
            fix="load it in another dtype (--dtype float32), or steer with smaller doses",
        )
    return found
