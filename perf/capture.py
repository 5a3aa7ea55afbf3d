"""What capturing a whole corpus at once saves: prints one JSON line.

    python perf/capture.py --data ../shared/data                (a few templates, about a minute)
    python perf/capture.py --data ../shared/data --prompts 0    (all prompts: time, memory, storage)

GPT-2's shapes (12 layers of 12 heads of 64, 50,257 tokens, random weights, float32) on the
published adjectives and templates, or on the corpus of this project where those are not at hand.
The tokenizer is a byte-level BPE made in place, of a size at which as many adjectives are one token
as with GPT-2's own.

`seed` is the way of the seed project: one prompt per forward pass of the full model with its cache,
of which the last token's values are copied out. (It is spared the gradients that the seed computed,
and its 10 GB of JSON.) `padded` and `packed` are `emo_harness.activations.capture` into a store on
disk, in batches alone and with shared prefixes computed once. The three take turns on the same
templates, so that a busy machine is busy for all, and are warmed with a few prompts, which
includes the self-check of `packed`. `ratio` is the seed's seconds per prompt by those of `packed`.
`bound` is what it would be if sharing prefixes cost nothing: the ratio of `padded`, times what it
computes over what is distinct. `work` tells millions of multiplications per prompt, from the
model's shapes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

THREADS = 2
VOCABULARY = 50_257
ROUNDS = 4
# As counted with GPT-2's own tokenizer on the published adjectives.
ONE_TOKEN_SHARE = 0.68
ADJECTIVES = "happy_sad_adjectives.e12b48d_190.json"
TEMPLATES = "prompt_templates_0330b2024.json"


def corpus_of(data: Path) -> Any:
    from emo_harness.probe.corpus import load_corpus

    folder = data / "emo_llm"
    if not (folder / ADJECTIVES).is_file():
        return load_corpus(None, None)
    return load_corpus([folder / ADJECTIVES], folder / TEMPLATES)


def tokenizer_for(sentences: Sequence[str], words: Sequence[str]) -> tuple[Any, float]:
    """A tokenizer that knows templates, and the share of adjectives that are one token."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    def trained(size: int) -> tuple[Any, float]:
        bpe = ByteLevelBPETokenizer()
        texts = [*(sentence.replace("{}", "") for sentence in sentences for _ in range(50))]
        bpe.train_from_iterator(
            [*texts, *(f" {word}" for word in words)],
            size,
            min_frequency=1,
            special_tokens=["<|endoftext|>"],
            show_progress=False,
        )
        single = sum(len(bpe.encode(f" {word}").ids) == 1 for word in words) / len(words)
        return bpe._tokenizer, single

    few, many = 257, 8192
    while many - few > 16:
        size = (few + many) // 2
        few, many = (size, many) if trained(size)[1] < ONE_TOKEN_SHARE else (few, size)
    inner, single = trained(many)
    marks = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **marks), single


def model_like_gpt2(tokenizer: Any) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from emo_harness.activations.loading import LoadedModel
    from emo_harness.activations.sites import layout_of
    from emo_harness.activations.store import ModelFacts

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY)).eval()
    facts = ModelFacts(
        name="random weights in GPT-2's shapes",
        model_type="gpt2",
        dtype="float32",
        n_layers=12,
        hidden_size=768,
        vocabulary=VOCABULARY,
    )
    return LoadedModel(model, tokenizer, layout_of(model), facts, "trained in place")


def seconds_of_seed(loaded: Any, texts: Sequence[str]) -> tuple[float, list[Any]]:
    """One prompt per forward pass; last-token values (12, 12, 64) of each."""
    import numpy as np
    import torch

    started = time.perf_counter()
    found = []
    for text in texts:
        ids = torch.tensor([loaded.tokenizer.encode(text)])
        with torch.no_grad():
            cache = loaded.model(ids, use_cache=True).past_key_values
        found.append(np.stack([layer.values[0, :, -1].numpy() for layer in cache.layers]))
    return time.perf_counter() - started, found


def captured(loaded: Any, prompts: Any, packed: bool, folder: Path) -> tuple[Any, Any]:
    from emo_harness.activations.capture import Work, capture

    work = Work()
    store = capture(loaded, prompts, folder, packed=packed, progress=False, work=work)
    return store, work


def multiplications(computed: float, n_prompts: int, *, whole: bool) -> float:
    """Millions per prompt in matrix products, attention's aside (1% of them)."""
    width, layers = 768, 12
    per_token = 12 * width**2 * layers + width * VOCABULARY
    if not whole:
        # The last layer's queries, keys and values are the last thing that is computed.
        per_token = 12 * width**2 * (layers - 1) + 3 * width**2
    return computed / n_prompts * per_token / 1e6


def compared(loaded: Any, table: Any, seed_prompts: int) -> dict[str, Any]:
    """The three ways in turn on parts of a corpus, template by template."""
    import numpy as np

    totals = {name: [0.0, 0, 0] for name in ("seed", "padded", "packed")}
    distinct = 0
    largest = 0.0
    rng = np.random.default_rng(0)
    for names in np.array_split(table["template"].unique(), ROUNDS):
        part = table[table["template"].isin(names)].reset_index(drop=True)
        n = min(len(part), max(1, seed_prompts // ROUNDS))
        places = rng.choice(len(part), n, replace=False)
        texts = part["text"].iloc[places].tolist()
        seconds, expected = seconds_of_seed(loaded, texts)
        tokens = sum(len(loaded.tokenizer.encode(text)) for text in texts)
        totals["seed"] = [a + b for a, b in zip(totals["seed"], (seconds, n, tokens), strict=True)]
        for name in ("padded", "packed"):
            with tempfile.TemporaryDirectory() as folder:
                store, work = captured(loaded, part, name == "packed", Path(folder))
                more = (work.seconds, len(part), work.computed_tokens)
                totals[name] = [a + b for a, b in zip(totals[name], more, strict=True)]
                values = store.read("value")[np.argsort(store.index["prompt"])][places]
            largest = max(largest, float(np.abs(values - np.stack(expected)).max()))
        distinct += work.distinct_tokens
    per_prompt = {name: seconds / n for name, (seconds, n, _) in totals.items()}
    ratio = {name: per_prompt["seed"] / per_prompt[name] for name in ("padded", "packed")}
    padded_share = totals["padded"][2] / distinct
    return {
        "prompts": totals["packed"][1],
        "seed_prompts": totals["seed"][1],
        "ms_per_prompt": {name: round(1e3 * s, 2) for name, s in per_prompt.items()},
        "ratio": round(ratio["packed"], 2),
        "ratio_padded": round(ratio["padded"], 2),
        "bound": round(ratio["padded"] * padded_share, 2),
        "tokens_per_prompt": {
            **{name: round(tokens / n, 2) for name, (_, n, tokens) in totals.items()},
            "distinct": round(distinct / totals["packed"][1], 2),
        },
        "work": {
            name: round(multiplications(tokens, n, whole=name == "seed"))
            for name, (_, n, tokens) in totals.items()
        },
        "largest_difference": largest,
    }


def whole(loaded: Any, table: Any) -> dict[str, Any]:
    """All prompts, packed."""
    with tempfile.TemporaryDirectory() as folder:
        store, work = captured(loaded, table, True, Path(folder))
        n_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
        return {
            "rows": store.n_rows,
            "seconds": round(work.seconds, 1),
            "ms_per_prompt": round(1e3 * work.seconds / store.n_rows, 2),
            "naive_tokens": work.naive_tokens,
            "distinct_tokens": work.distinct_tokens,
            "computed_tokens": work.computed_tokens,
            "store_gb": round(n_bytes / 1e9, 4),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="published data"
    )
    parser.add_argument(
        "--prompts", type=int, default=1500, help="in whole templates; 0 for all, after a sample"
    )
    parser.add_argument("--seed_prompts", type=int, default=200, help="one by one")
    asked = parser.parse_args()
    import torch
    import transformers

    from emo_harness.activations.capture import vectors

    torch.set_num_threads(THREADS)
    corpus = corpus_of(asked.data)
    table = corpus.prompts()
    words = sorted(set(table["word"]))
    tokenizer, single = tokenizer_for(sorted(set(table["template_text"])), words)
    loaded = model_like_gpt2(tokenizer)
    per_template = len(table) // table["template"].nunique()
    n_templates = max(ROUNDS, round((asked.prompts or 1500) / per_template))
    # Pairs of templates from all over the file.
    names = sorted(table["template"].unique())
    step = max(2, 2 * (len(names) // n_templates))
    chosen = [name for first in range(0, len(names), step) for name in names[first : first + 2]]
    sample = table[table["template"].isin(chosen[:n_templates])]
    seconds_of_seed(loaded, sample["text"].iloc[:5].tolist())
    # Warms the model, and checks once that it can be packed.
    vectors(loaded, sample.iloc[:5])
    line = {
        "benchmark": "capture",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "corpus": corpus.facts["description"],
        "one_token_adjectives": round(single, 3),
        **compared(loaded, sample, asked.seed_prompts),
    }
    if not asked.prompts:
        line["whole"] = whole(loaded, table)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
