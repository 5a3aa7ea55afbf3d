"""What decoding stimuli adds to running the model over them: prints one JSON line.

    python perf/decode.py                 (about two minutes)
    python perf/decode.py --rounds 7

GPT-2's shapes (12 layers of 768, 50,257 tokens, random weights, float32) on 60 of the shipped
stimuli, their words drawn anew so that no two of them share a beginning. `bare` is the base model
alone on the padded batches that reading them takes, without hooks, cache and head. `decode` is what
`emo decode` does of a vector per family and layer: the texts' tokens, `activations.capture.vectors`
of the residual stream at all layers (last content token), family means and placebo contrasts, and
the top tokens of each. `positions` is every token of every stimulus at all layers instead: the best
token each. They take turns, so that a busy machine is busy for all; ratios are medians over rounds.
`decode_padded` reads in just the batches of `bare`; `decode` in what is chosen by default. The
checks of a model (its layout, head and norm, and whether it can be packed) are made once, before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

THREADS = 2
VOCABULARY = 50_257
N_WORDS = 5_000
N_STIMULI = 60
TOP = 20


def tokenizer() -> Any:
    """Words w0, w1 and so on and the full stop, each a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<|endoftext|>": 0, ".": 1} | {f"w{i}": i + 2 for i in range(N_WORDS)}
    inner = Tokenizer(models.WordLevel(words, "<|endoftext|>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")


def stimuli() -> Any:
    """Stimuli as long as the shipped ones, with their families and the span up to the full stop."""
    import numpy as np
    import pandas as pd

    from emo_harness.stimuli.selection import shipped_lengths

    rng = np.random.default_rng(0)
    rows = []
    for family, n_tokens in shipped_lengths()[:N_STIMULI]:
        text = " ".join(f"w{i}" for i in rng.integers(0, N_WORDS, n_tokens - 1)) + " ."
        rows.append((family, text, 0, len(text) - 2))
    return pd.DataFrame(rows, columns=["family", "text", "span_first", "span_last"])


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
