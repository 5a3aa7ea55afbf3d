"""A tiny image encoder in open_clip's own folder format, with random or planted weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

START, UNKNOWN, PAD, END = "<start>", "<unknown>", "<pad>", "<end>"
SIDE = 32
CONTEXT = 16


def tiny_clip(
    folder: Path,
    words: Sequence[str],
    *,
    end_is_highest: bool = True,
    seed: int = 0,
    tokenizer_name: str = "own",
    text: dict[str, Any] | None = None,
) -> Path:
    """A model folder: configuration, weights, and a tokenizer that knows `words`.

    Args:
        end_is_highest: whether the end of a text has the highest token id, as open_clip assumes.
        text: further keys of text_cfg.
    """
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    n_tokens = save_tokenizer(folder, words, end_is_highest)
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": SIDE,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": n_tokens,
            "width": 32,
            "heads": 2,
            "layers": 1,
            "hf_tokenizer_name": tokenizer_name,
            **(text or {}),
        },
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**_parts(config))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    told = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(told), "utf-8")
    return folder


def save_tokenizer(folder: Path, words: Sequence[str], end_is_highest: bool) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    own = sorted({part for word in words for part in word.lower().split()})
    marks = [PAD, UNKNOWN, START, *own, END] if end_is_highest else [PAD, UNKNOWN, END, START, *own]
    vocabulary = {token: place for place, token in enumerate(marks)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token=UNKNOWN,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
    ).save_pretrained(folder)
    return len(marks)


def _parts(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "text_cfg": dict(config["text_cfg"])}
