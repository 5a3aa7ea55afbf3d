"""Random models with a tokenizer in local folders, and lm-eval's requests to ask them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from emo_harness.lm_models.shared_prefix import SharedPrefixLM
from emo_harness.prefix import PackedModel
from tests.prefix.tiny_models import build

POSITIONS = 160
TOLERANCE = 1e-4
# English for merges, the rest for bytes that several tokens share.
CORPUS = (
    "Q: Is this true or false? A: Let's think step by step.\n\n",
    "The question is about a box, a key and the room behind the door. ",
    "Your friend is sick. You failed again. This is very important to my career.\n",
    "Options:\n(A) True\n(B) False\n",
    "naïve café, größer, 日本語, 🙂🙃",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def byte_tokenizer(corpus: Sequence[str], n_tokens: int) -> Any:
    """A byte-level BPE of `tokenizers`, `<s>` and `</s>` among its tokens."""
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        [*corpus] * 3,
        n_tokens,
        special_tokens=["<s>", "</s>"],
        min_frequency=2,
        show_progress=False,
    )
    return bpe._tokenizer


@cache
def tokenizer(adds_bos: bool = False) -> Any:
    """A byte-level BPE tokenizer of 340 tokens, `<s>` and `</s>` among them."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    inner = byte_tokenizer(CORPUS, 340)
    if adds_bos:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=CHAT_TEMPLATE,
    )


def word_tokenizer(n_words: int) -> Any:
    """A tokenizer of the words w0, w1 and so on, each a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    listed = ["<s>", "</s>", *(f"w{i}" for i in range(n_words))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(listed)}, "</s>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def saved(
    folder: Path, kind: str, *, adds_bos: bool = False, words: Any = None, **changes: Any
) -> Path:
    """Put a model and a tokenizer into a folder, as from a hub."""
    words = words or tokenizer(adds_bos)
    positions = {"gpt2": "n_positions", "mpt": "max_seq_len", "bloom": "seq_length"}
    sizes = {"vocab_size": len(words), positions.get(kind, "max_position_embeddings"): POSITIONS}
    build(kind, **(sizes | changes)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def ours(folder: Path, **kwargs: Any) -> SharedPrefixLM:
    return SharedPrefixLM(**_arguments(folder, kwargs))


def theirs(folder: Path, **kwargs: Any) -> HFLM:
    """lm-eval's own, one request at a time."""
    return HFLM(**_arguments(folder, kwargs))


def _arguments(folder: Path, kwargs: dict[str, Any]) -> dict[str, Any]:
    plain = {"device": "cpu", "dtype": "float32", "batch_size": 1}
    return {"pretrained": str(folder), **plain, **kwargs}


def requests(
    kind: str, arguments: Sequence[tuple[Any, ...]], arms: Sequence[str] | None = None
) -> list[Instance]:
    """lm-eval's requests, each of a question of its own, or in turn under these arms."""
    found = []
    for index, args in enumerate(arguments):
        doc_id = index // len(arms) if arms else index
        one = Instance(kind, {}, args, index, metadata=("made_up", doc_id, 1))
        if arms:
            one.arm = arms[index % len(arms)]
        found.append(one)
    return found


def scores(lm: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
    return lm.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)


def texts(lm: Any, prompts: Sequence[str], settings: Any) -> list[str]:
    """Generations; settings are those of all prompts, or a list with each one's own."""
    each = settings if isinstance(settings, list) else [settings] * len(prompts)
    asked = [(prompt, dict(own)) for prompt, own in zip(prompts, each, strict=True)]
    return lm.generate_until(requests("generate_until", asked), disable_tqdm=True)


def assert_same_scores(
    found: Sequence[tuple[float, bool]], expected: Sequence[tuple[float, bool]]
) -> None:
    assert len(found) == len(expected)
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert abs(one[0] - other[0]) <= TOLERANCE, (index, one, other)
        assert one[1] == other[1], (index, one, other)


@contextmanager
def failing_passes(lm: SharedPrefixLM, fails: Any) -> Iterator[None]:
    """Let forward passes fail where `fails(pass number)` gives an error."""
    model: PackedModel = lm._engine.model
    plain, passes = model.logits, iter(range(10**9))

    def logits(*args: Any) -> torch.Tensor:
        error = fails(next(passes))
        if error is not None:
            raise error
        return plain(*args)

    model.logits = logits  # type: ignore[method-assign]
    try:
        yield
    finally:
        model.logits = plain  # type: ignore[method-assign]
