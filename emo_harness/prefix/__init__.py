"""Token tries and the packed forward pass over them: shared prefixes are computed once."""

from emo_harness.prefix.generation import Continued, Prompt, generate
from emo_harness.prefix.limits import (
    Costs,
    Limits,
    default_budget,
    despite_full_memory,
    in_words,
    limits_within,
    parse_bytes,
)
from emo_harness.prefix.packed_model import PackedModel
from emo_harness.prefix.scoring import Continuation, NaNLogitsError, Score, score
from emo_harness.prefix.self_check import why_different
from emo_harness.prefix.support import attention_window, base_model, why_unsupported
from emo_harness.prefix.trie import Node, Tokens, Trie, build_trie, shared_length, trie_order
from emo_harness.prefix.visual_check import why_images_different
from emo_harness.prefix.visual_model import CACHE_BYTES, VisualPackedModel
from emo_harness.prefix.visual_support import why_images_unsupported

__all__ = [
    "CACHE_BYTES",
    "Continuation",
    "Continued",
    "Costs",
    "Limits",
    "NaNLogitsError",
    "Node",
    "PackedModel",
    "Prompt",
    "Score",
    "Tokens",
    "Trie",
    "VisualPackedModel",
    "attention_window",
    "base_model",
    "build_trie",
    "default_budget",
    "despite_full_memory",
    "generate",
    "in_words",
    "limits_within",
    "parse_bytes",
    "score",
    "shared_length",
    "trie_order",
    "why_different",
    "why_images_different",
    "why_images_unsupported",
    "why_unsupported",
]
