"""Small random models as if loaded, with a tokenizer that has no text, and targets to ask them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import layout_of
from emo_harness.activations.store import ModelFacts
from emo_harness.attribution.target import Target
from tests.activations.models import model_of
from tests.prefix.tiny_models import VOCABULARY

BOS, EOS = 0, 1


class Tokens:
    """What attribution asks of a tokenizer."""

    bos_token_id, eos_token_id, pad_token_id, unk_token_id = BOS, EOS, EOS, None
    all_special_ids = (BOS, EOS)
    model_max_length = 10**30

    def get_vocab(self) -> dict[str, int]:
        return {f"t{token}": token for token in range(VOCABULARY)}


def as_loaded(model: Any) -> LoadedModel:
    """A model with these tokens."""
    layout = layout_of(model)
    facts = ModelFacts(
        name="of a test",
        model_type=model.config.model_type,
        dtype=str(layout.base.dtype).removeprefix("torch."),
        n_layers=layout.n_layers,
        hidden_size=layout.hidden_size,
        vocabulary=VOCABULARY,
    )
    return LoadedModel(model, Tokens(), layout, facts, "of a test")


@cache
def shared(kind: str) -> LoadedModel:
    """A model made once, which tests leave as it is."""
    return as_loaded(model_of(kind))


def fresh(kind: str, seed: int = 0) -> LoadedModel:
    """A model built anew, which a test may spoil."""
    return as_loaded(model_of(kind, seed))


def targets(*lengths: tuple[int, int], seed: int = 0) -> list[Target]:
    """Random prompts behind a beginning token, and answers, of these lengths."""
    rng = np.random.default_rng(seed)
    lengths = lengths or ((9, 1), (12, 3), (5, 2), (12, 1))
    return [
        Target(np.r_[BOS, rng.integers(2, VOCABULARY, n)], rng.integers(2, VOCABULARY, m))
        for n, m in lengths
    ]
