"""The demo model's tokenizer: byte-level BPE, so that any text can be encoded, and no BOS token."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from emo_harness.demo.corpus import DESCRIPTIONS, GENERATORS
from emo_harness.demo.planted import demo_stimuli
from emo_harness.demo.sentences import inert_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EOS = "<|endoftext|>"
PAD = "<|pad|>"
VOCABULARY_SIZE = 2048
CONTEXT_TOKENS = 2048
_N_TRAINING_LINES = 6000


def train_tokenizer(seed: int) -> Tokenizer:
    """Train on generated questions, random sentences and the shipped stimuli."""
    return byte_level_bpe(_training_lines(np.random.default_rng([seed, 0])), VOCABULARY_SIZE)


def byte_level_bpe(lines: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """Train byte-level BPE on lines of text.

    Decoding drops one leading space, as Llama's own tokenizers do: lm-evaluation-harness compares
    the whole generated text with the target, and the model answers " True".
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def as_transformers(
    tokenizer: Tokenizer, context_tokens: int = CONTEXT_TOKENS
) -> "PreTrainedTokenizerFast":
    """Wrap for `save_pretrained`; EOS and PAD are set, nothing is added around a text."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must exist."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return found


def _training_lines(rng: np.random.Generator) -> Iterator[str]:
    for stimulus in demo_stimuli():
        for _ in range(20):
            yield f"\n{stimulus.text}\nA:"
            yield f"Expression. {stimulus.text}\n"
    subtasks = list(DESCRIPTIONS)
    for index in range(_N_TRAINING_LINES):
        question = GENERATORS[subtasks[index % len(subtasks)]](rng)
        yield f"{question.prompt()} {question.target}"
        yield inert_line(rng)
