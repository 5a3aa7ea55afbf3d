"""Small random models with tokenizers as if loaded, and prompts that share and repeat."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import layout_of
from emo_harness.activations.store import ModelFacts
from tests.lm_models.local_models import POSITIONS, tokenizer
from tests.prefix.tiny_models import build

WORDS = ("sick", "important", "behind", "café")
TEMPLATES = (
    "Your friend is {} and the key is true",
    "Your friend is {} .",
    "The question is {}, so the room",
    "Let's think: {}",
)


def loaded(kind: str = "gpt2", tokens: Any = None, **changes: Any) -> LoadedModel:
    """A model built anew, which a test may spoil."""
    tokens = tokenizer() if tokens is None else tokens
    positions = {"gpt2": "n_positions", "mpt": "max_seq_len", "bloom": "seq_length"}
    sizes = {"vocab_size": len(tokens), positions.get(kind, "max_position_embeddings"): POSITIONS}
    model = build(kind, **(sizes | changes))
    layout = layout_of(model)
    facts = ModelFacts(
        name=kind,
        model_type=model.config.model_type,
        dtype="float32",
        n_layers=layout.n_layers,
        hidden_size=layout.hidden_size,
        vocabulary=len(tokens),
    )
    return LoadedModel(model, tokens, layout, facts, "of a test")


@cache
def shared(kind: str = "gpt2") -> LoadedModel:
    """A model made once, which tests leave as it is."""
    return loaded(kind)


def prompts(words: tuple[str, ...] = WORDS, n_templates: int = len(TEMPLATES)) -> pd.DataFrame:
    """Every word in every template, and one prompt twice."""
    rows = []
    for number, template in enumerate(TEMPLATES[:n_templates]):
        for word in (*words, words[0]):
            first = template.index("{}")
            rows.append(
                {
                    "text": template.format(word),
                    "span_first": first,
                    "span_last": first + len(word),
                    "word": word,
                    "template": number,
                    "negation": bool(number % 2),
                }
            )
    table = pd.DataFrame(rows)
    return table.astype({"span_first": "Int64", "span_last": "Int64"})
