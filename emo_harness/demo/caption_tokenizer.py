"""The tokenizer of captions: CLIP's own kind of byte-pair encoding with a vocabulary of our words.

End-of-text has the highest id, because open_clip takes the text's embedding where the highest id
stands; it also pads, as in Stable Diffusion, and the first of equals counts.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from emo_harness.demo.captions import all_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import CLIPTokenizer

CONTEXT_TOKENS = 32
VOCABULARY_SIZE = 1400
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_PIECES = r"'s|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_N_CAPTIONS = 8000


def caption_tokenizer(seed: int) -> "CLIPTokenizer":
    """Trained on captions of every concept, kind and background; deterministic."""
    return clip_tokenizer(all_words(np.random.default_rng([seed, 2]), _N_CAPTIONS))


def clip_tokenizer(
    lines: "Iterable[str]", vocabulary_size: int = VOCABULARY_SIZE
) -> "CLIPTokenizer":
    """A CLIPTokenizer whose merges come from these lines; any text can be encoded."""
    from transformers import CLIPTokenizer

    bare = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    bare.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    split = partial(pre_tokenizers.Split, behavior="removed", invert=True)
    bare.pre_tokenizer = pre_tokenizers.Sequence(
        [split(Regex(_PIECES)), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        # Single bytes, and those that end a word, are added below.
        vocab_size=vocabulary_size - len(alphabet) - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    bare.train_from_iterator(lines, trainer)
    learnt = bare.get_vocab()
    tokens = sorted(learnt, key=lambda token: learnt[token])
    ends = [letter + _WORD_END for letter in alphabet]
    ordered = [*dict.fromkeys([*alphabet, *ends, *tokens]), START, END]
    return CLIPTokenizer(
        vocab={token: place for place, token in enumerate(ordered)},
        merges=_merges(bare),
        model_max_length=CONTEXT_TOKENS,
    )


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    import json

    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]
