"""Greedy choice between answers, with the shared beginning of a question's arms computed once.

Gives what lm-evaluation-harness's `multiple_choice` accuracy is computed from: the continuation
with the largest log-likelihood, the first one on a tie.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@torch.inference_mode()
def choose(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[Sequence[str]],
    continuations: Sequence[str] = (" True", " False"),
    *,
    prompts_per_pass: int = 45,
) -> np.ndarray:
    """The index of the chosen continuation, (n_questions, n_arms), uint8.

    `prompts` holds each question's prompts, one per arm. Prompts are tokenised whole; the tokens
    that all prompts of a question begin with are computed once. Every continuation must be a single
    token.
    """
    n_arms = len(prompts[0])
    flat = [prompt for question in prompts for prompt in question]
    token_ids = tokenizer(flat, add_special_tokens=False)["input_ids"]
    answer_ids = _single_tokens(tokenizer, flat[0], continuations)
    choice = np.zeros(len(flat), np.uint8)
    by_shared: dict[int, list[int]] = {}
    for start in range(0, len(flat), n_arms):
        shared = _n_shared(token_ids[start : start + n_arms])
        by_shared.setdefault(shared, []).append(start)
    for shared, starts in by_shared.items():
        caches = _prefix_cache(model, [token_ids[start][:shared] for start in starts])
        jobs = [(q, start + arm) for q, start in enumerate(starts) for arm in range(n_arms)]
        jobs.sort(key=lambda job: len(token_ids[job[1]]))
        for begin in range(0, len(jobs), prompts_per_pass):
            chunk = jobs[begin : begin + prompts_per_pass]
            rests = [token_ids[flat_index][shared:] for _, flat_index in chunk]
            hidden = _continue(model, caches, [q for q, _ in chunk], rests)
            logits = hidden @ model.lm_head.weight[answer_ids].T
            choice[[flat_index for _, flat_index in chunk]] = logits.argmax(-1).numpy()
    return choice.reshape(len(prompts), n_arms)


@torch.inference_mode()
def choose_plainly(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[Sequence[str]],
    continuations: Sequence[str] = (" True", " False"),
) -> np.ndarray:
    """`choose` without packing: one forward pass per prompt and continuation, of any length."""
    choice = np.zeros((len(prompts), len(prompts[0])), np.uint8)
    for row, question in enumerate(prompts):
        for column, prompt in enumerate(question):
            n_given = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
            scores = []
            for continuation in continuations:
                ids = torch.tensor([tokenizer(prompt + continuation)["input_ids"]])
                log_probs = model(ids[:, :-1]).logits[0].log_softmax(-1)
                after = ids[0, n_given:]
                scores.append(log_probs[n_given - 1 :].gather(1, after[:, None]).sum().item())
            choice[row, column] = int(np.argmax(scores))
    return choice


def _n_shared(sequences: Sequence[Sequence[int]]) -> int:
    """How many first tokens all sequences share, at least one token of each being left over."""
    low, high = min(map(list, sequences)), max(map(list, sequences))
    limit = min(len(sequence) for sequence in sequences) - 1
    shared = 0
    while shared < limit and low[shared] == high[shared]:
        shared += 1
    return shared


def _prefix_cache(
    model: "PreTrainedModel", prefixes: Sequence[Sequence[int]]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values per layer, each (n_prefixes, n_kv_heads, n_tokens, head_dim)."""
    if not prefixes[0]:
        return []
    cache = model.model(input_ids=torch.tensor(prefixes), use_cache=True).past_key_values
    return [(layer.keys, layer.values) for layer in cache.layers]


def _continue(
    model: "PreTrainedModel",
    caches: Sequence[tuple[torch.Tensor, torch.Tensor]],
    of_prefix: Sequence[int],
    rests: Sequence[Sequence[int]],
) -> torch.Tensor:
    """The final state of each rest's last token after its prefix: (n_rests, hidden_size)."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer, (keys, values) in enumerate(caches):
        cache.update(keys[of_prefix], values[of_prefix], layer)
    last = torch.tensor([len(rest) - 1 for rest in rests])
    padded = torch.zeros(len(rests), int(last.max()) + 1, dtype=torch.int64)
    for row, rest in enumerate(rests):
        padded[row, : len(rest)] = torch.tensor(rest)
    states: torch.Tensor = model.model(
        input_ids=padded, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return states[torch.arange(len(rests)), last]


def _single_tokens(
    tokenizer: "PreTrainedTokenizerFast", prompt: str, continuations: Sequence[str]
) -> list[int]:
    given = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = []
    for continuation in continuations:
        whole = tokenizer(prompt + continuation, add_special_tokens=False)["input_ids"]
        if whole[:-1] != given:
            raise ValueError(f"{continuation!r} is not a single token after a prompt")
        ids.append(whole[-1])
    return ids
