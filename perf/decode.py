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
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.capture import model_like_gpt2  # noqa: E402

THREADS = 2
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
    marks = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **marks)


def stimuli() -> Any:
    """Stimuli as long as the shipped ones in words and marks, and the span up to the last word."""
    import numpy as np
    import pandas as pd

    from emo_harness.stimuli import select

    rng = np.random.default_rng(0)
    rows = []
    shipped = select(["prompt", "attack", "negative", "placebo"])
    for one in [*shipped, *shipped][:N_STIMULI]:
        n_words = len(re.findall(r"\w+|[^\w\s]", one.text)) - 1
        words = " ".join(f"w{i}" for i in rng.integers(0, N_WORDS, n_words))
        rows.append((one.family, f"{words} .", 0, len(words)))
    return pd.DataFrame(rows, columns=["family", "text", "span_first", "span_last"])


def batches_of(loaded: Any, table: Any) -> list[tuple[Any, Any]]:
    """The padded batches, ids and mask, that reading these stimuli takes."""
    from emo_harness.activations.capture import vectors

    found = []

    def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        found.append((kwargs["input_ids"], kwargs.get("attention_mask")))

    handle = loaded.layout.base.register_forward_pre_hook(keep, with_kwargs=True)
    vectors(loaded, table, sites=["resid_post"], position="span", packed=False)
    handle.remove()
    return found


def captured(loaded: Any, table: Any, position: str, packed: bool) -> Any:
    """(n_rows, n_layers, width), and the family of each row."""
    from emo_harness.activations.capture import vectors

    read = vectors(loaded, table, sites=["resid_post"], position=position, packed=packed)
    return read.values["resid_post"], read.index["family"].to_numpy()


def decoded_families(lens: Any, values: Any, families: Any) -> None:
    """Of each layer the top tokens of every family's mean; of all but placebos, minus theirs."""
    import numpy as np

    means = {name: values[families == name].mean(axis=0) for name in np.unique(families)}
    placebo = means.pop("placebo")
    wanted = np.stack([placebo, *(mean - placebo for mean in means.values())])
    for layer in range(values.shape[1]):
        lens.top(wanted[:, layer], layer, TOP)


def decoded_positions(lens: Any, values: Any) -> None:
    from emo_harness.decode.top_tokens import arg_max

    for layer in range(values.shape[1]):
        arg_max(lens, values[:, layer], layer)


def measured(n_rounds: int) -> dict[str, Any]:
    from emo_harness.decode.lens import logit_lens

    loaded, table = model_like_gpt2(tokenizer()), stimuli()
    lens = logit_lens(loaded)
    batches = batches_of(loaded, table)
    # Also the check, made once, of whether the model can be packed.
    values, families = captured(loaded, table, "span", True)
    positions, _ = captured(loaded, table, "all", True)
    ways = {
        "bare": lambda: [loaded.layout.forward(*batch) for batch in batches],
        "decode": lambda: decoded_families(lens, *captured(loaded, table, "span", True)),
        "decode_padded": lambda: decoded_families(lens, *captured(loaded, table, "span", False)),
        "capture": lambda: captured(loaded, table, "span", True),
        "top": lambda: decoded_families(lens, values, families),
    }
    took = [{name: seconds(work) for name, work in ways.items()} for _ in range(n_rounds + 1)][1:]
    once = seconds(lambda: decoded_positions(lens, positions))
    median = {name: statistics.median(one[name] for one in took) for name in ways}
    ratios = {
        name: statistics.median(one[name] / one["bare"] for one in took)
        for name in ways
        if name != "bare"
    }
    return {
        "stimuli": len(table),
        "families": len(set(families)),
        "tokens": len(positions),
        "batches": [list(ids.shape) for ids, _ in batches],
        "seconds": {name: round(one, 3) for name, one in median.items()},
        "ratio": {name: round(one, 3) for name, one in ratios.items()},
        "positions": {
            "vectors": positions.shape[0] * positions.shape[1],
            "seconds": round(once, 2),
            "ratio": round((median["capture"] + once) / median["bare"], 2),
        },
    }


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms")
    asked = parser.parse_args()
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    line = {
        "benchmark": "decode",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        **measured(asked.rounds),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
