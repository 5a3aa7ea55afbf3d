"""EmotionDecode: stimuli to mean representations per layer, and those to meta prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_harness.lazy_names import lazy_names

if TYPE_CHECKING:
    from emo_harness.decode.decode import decode_stimuli, spread_layers
    from emo_harness.decode.lens import LogitLens, logit_lens
    from emo_harness.decode.nearest import NearestEmbeddings, nearest_embeddings
    from emo_harness.decode.pooling import PooledStimuli, read_stimuli
    from emo_harness.decode.top_tokens import TokenDecoder, TopTokens, arg_max
    from emo_harness.decode.translator_fit import fit_translators
    from emo_harness.decode.translators import (
        Translators,
        TunedLens,
        load_translators,
        save_translators,
        tuned_lens,
    )

# All need torch, which reading a name alone must not import.
_MODULE_OF = {
    "LogitLens": "lens",
    "NearestEmbeddings": "nearest",
    "PooledStimuli": "pooling",
    "TokenDecoder": "top_tokens",
    "TopTokens": "top_tokens",
    "Translators": "translators",
    "TunedLens": "translators",
    "arg_max": "top_tokens",
    "decode_stimuli": "decode",
    "fit_translators": "translator_fit",
    "load_translators": "translators",
    "logit_lens": "lens",
    "nearest_embeddings": "nearest",
    "read_stimuli": "pooling",
    "save_translators": "translators",
    "spread_layers": "decode",
    "tuned_lens": "translators",
}

__all__ = [
    "LogitLens",
    "NearestEmbeddings",
    "PooledStimuli",
    "TokenDecoder",
    "TopTokens",
    "Translators",
    "TunedLens",
    "arg_max",
    "decode_stimuli",
    "fit_translators",
    "load_translators",
    "logit_lens",
    "nearest_embeddings",
    "read_stimuli",
    "save_translators",
    "spread_layers",
    "tuned_lens",
]

__getattr__ = lazy_names(__name__, _MODULE_OF)
