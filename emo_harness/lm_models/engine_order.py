"""Requests in trie order for engines that keep computed prefixes.

lm-eval hands requests over by length, which tears the arms of a question and the questions of a
subtask apart. vLLM and SGLang, in-process or behind a server, keep what they computed of a prompt
until memory runs out, so prompts that begin alike should come one after the other. Sorted by
tokens they do: no other order lets neighbours share more.

Generation gains by it. Log-likelihoods do not: lm-eval 0.4.13 asks these engines for the
log-probabilities of whole prompts, and both leave their caches unread for that.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from lm_eval.models.utils import Collator

from emo_harness.errors import UserError


@dataclass(frozen=True)
class Engine:
    """Where lm-eval sorts the requests of an engine.

    Attributes:
        module: whose name `Collator` does it.
        packages: what the module needs.
        install: the command that brings them.
    """

    module: str
    packages: tuple[str, ...]
    install: str


_SERVER = Engine(
    "lm_eval.models.api_models",
    ("aiohttp", "requests", "tenacity", "tqdm"),
    "pip install 'lm_eval[api]'",
)
ENGINES = {
    "vllm": Engine("lm_eval.models.vllm_causallms", ("vllm",), "pip install 'lm_eval[vllm]'"),
    "sglang": Engine("lm_eval.models.sglang_causallms", ("sglang",), "pip install sglang"),
    "local-completions": _SERVER,
    "local-chat-completions": _SERVER,
    "sglang-generate": _SERVER,
}


@contextmanager
def in_trie_order(model: str) -> Iterator[None]:
    """Let `--model` get its requests in trie order, where it is one of `ENGINES`.

    Raises:
        UserError: the engine is not installed.
    """
    engine = ENGINES.get(model)
    if engine is None:
        yield
        return
    missing = [package for package in engine.packages if find_spec(package) is None]
    if missing:
        raise UserError(
            f"preparing --model {model}",
            found=f"no package {', '.join(missing)} in this environment",
            expected="the engine's packages",
            fix=engine.install,
        )
    module: Any = importlib.import_module(engine.module)
    upstream = module.Collator
    module.Collator = TrieOrderCollator
    try:
        yield
    finally:
        module.Collator = upstream


class TrieOrderCollator(Collator):
    """lm-eval's `Collator`, sorting by prompt instead of by length.

    Grouping, batching and putting answers back into the requests' order are lm-eval's.

    Args:
        arr: requests in one of the forms in which lm-eval's engines have them.
        sort_fn: by what lm-eval would sort; not used.
        kwargs: how requests are grouped.
    """

    def __init__(
        self, arr: Sequence[Any], sort_fn: Callable[[Any], Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(arr, sort_fn=prompt_bytes, **kwargs)


def prompt_bytes(request: tuple[Any, ...]) -> bytes:
    """A request's prompt as bytes that sort like its tokens, or like its text where it has none.

    Example:
        >>> prompt_bytes((("a", "b"), [1, 2], [3])) < prompt_bytes((("a", [1, 300]), {}))
        True
    """
    match request:
        # A log-likelihood: strings, tokens of the context, tokens of the option.
        case (_, list() as context, list() as option):
            return _as_bytes(context + option)
        # A generation of an engine: (prompt, tokens), settings.
        case ((_, list() as tokens), _):
            return _as_bytes(tokens)
        # A generation of a server: prompt, settings, tokens if it is sent any.
        case (_, _, [int(), *_] as tokens):
            return _as_bytes(tokens)
    # Chats come as their JSON in a one-field tuple.
    text = getattr(request[0], "prompt", request[0])
    return str(text).encode("utf-8", "surrogatepass")


def _as_bytes(tokens: list[int]) -> bytes:
    # Big-endian bytes of non-negative integers compare like the integers themselves.
    return np.array(tokens, dtype=">u4").tobytes()
