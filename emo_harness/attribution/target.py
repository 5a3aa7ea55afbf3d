"""What is attributed: the log-probability of an answer, given a prompt, both as token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.lm_models.prompt_encoder import PromptEncoder
from emo_harness.lm_models.refusals import require_end_token, require_tokens

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Target:
    """A prompt and the answer whose log-probability is attributed to the prompt's tokens.

    The log-probability is log p(answer | prompt) = sum over j of log p(a_j | prompt, a_1 .. a_j-1)
    in nats, over the answer's m tokens.

    Attributes:
        prompt_ids: (n,) int64, special tokens as the model was asked with them.
        answer_ids: (m,) int64.
    """

    prompt_ids: Ints
    answer_ids: Ints

    def __post_init__(self) -> None:
        for name in ("prompt_ids", "answer_ids"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))

    @property
    def input_ids(self) -> Ints:
        """(n + m - 1,) what the model is given: all tokens but the last."""
        return np.concatenate([self.prompt_ids, self.answer_ids[:-1]])


def encode_targets(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], *, add_bos_token: bool | None = None
) -> list[Target]:
    """Encode pairs of prompt and answer as lm-eval's Hugging Face models encode them.

    White space at the prompt's end goes to the answer; the answer's tokens are those that the
    whole text has beyond the prompt's own; an empty prompt is one token, the beginning or else the
    end of a text. Nothing is cut.

    Args:
        tokenizer: a transformers tokenizer.
        pairs: (prompt, answer) texts.
        add_bos_token: the run's model argument of that name.

    Raises:
        UserError: a prompt or an answer without tokens of its own, or a tokenizer without an end
            token.
    """
    if tokenizer.bos_token_id is None:
        require_end_token(tokenizer)
    beginning = tokenizer.bos_token_id
    prefix = int(tokenizer.eos_token_id if beginning is None else beginning)
    encoder = PromptEncoder(tokenizer, add_bos_token, prefix)
    contexts = [prompt.rstrip() for prompt, _ in pairs]
    known = encoder.pieces(
        [*contexts, *(prompt + answer for prompt, answer in pairs if prompt)],
    )
    found = []
    for context, (prompt, answer) in zip(contexts, pairs, strict=True):
        if prompt:
            before = known[context]
            after = known[prompt + answer][len(before) :]
        else:
            ids = list(tokenizer.encode(answer, add_special_tokens=False))
            has_prefix = ids[:1] == [prefix]
            before, after = [prefix], ids[1:] if has_prefix else ids
        require_tokens(before, prompt)
        require_tokens(after, answer)
        found.append(Target(np.array(before), np.array(after)))
    return found


class TargetBatch(NamedTuple):
    """Some targets as tensors, filled up on the right, where no token before can see it.

    Attributes:
        input_ids: (b, n) int64.
        attention_mask: (b, n) int64, 0 where filled up.
        places: (b, m) int64, the positions that predict the answer's tokens.
        answer_ids: (b, m) int64.
        is_answer: (b, m) bool, False where filled up.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    places: torch.Tensor
    answer_ids: torch.Tensor
    is_answer: torch.Tensor

    def rows(self, indices: slice | Sequence[int]) -> TargetBatch:
        """Some of them, cut to the longest."""
        n = int(self.attention_mask[indices].sum(1).max())
        m = int(self.is_answer[indices].sum(1).max())
        return TargetBatch(
            input_ids=self.input_ids[indices][:, :n],
            attention_mask=self.attention_mask[indices][:, :n],
            places=self.places[indices][:, :m],
            answer_ids=self.answer_ids[indices][:, :m],
            is_answer=self.is_answer[indices][:, :m],
        )


def batch_of(targets: Sequence[Target], device: torch.device) -> TargetBatch:
    """Targets as tensors on a device."""
    n = max(len(target.input_ids) for target in targets)
    m = max(len(target.answer_ids) for target in targets)
    ids, mask = (torch.zeros(len(targets), n, dtype=torch.int64) for _ in range(2))
    places, answers = (torch.zeros(len(targets), m, dtype=torch.int64) for _ in range(2))
    is_answer = torch.zeros(len(targets), m, dtype=torch.bool)
    for row, target in enumerate(targets):
        given, asked = torch.from_numpy(target.input_ids), torch.from_numpy(target.answer_ids)
        # Any token that the model knows; none before sees it.
        ids[row] = given[-1]
        ids[row, : len(given)] = given
        mask[row, : len(given)] = 1
        first = len(target.prompt_ids) - 1
        places[row, : len(asked)] = torch.arange(first, first + len(asked))
        answers[row, : len(asked)] = asked
        is_answer[row, : len(asked)] = True
    filled = TargetBatch(ids, mask, places, answers, is_answer)
    return TargetBatch._make(tensor.to(device) for tensor in filled)


def in_batches(targets: Sequence[Target], batch_tokens: int) -> Iterator[slice]:
    """Runs of targets that have at most so many tokens when filled up; at least one target each."""
    first = longest = 0
    for index, target in enumerate(targets):
        longest = max(longest, len(target.input_ids))
        if index > first and (index + 1 - first) * longest > batch_tokens:
            yield slice(first, index)
            first, longest = index, len(target.input_ids)
    if first < len(targets):
        yield slice(first, len(targets))


def check_targets(targets: Sequence[Target], *, vocabulary: int, context: int | None) -> None:
    """Raise unless a model can be asked all of them.

    Raises:
        UserError: an empty prompt or answer, a token that the model does not know, or more tokens
            than the model's context holds.
    """
    for index, target in enumerate(targets):
        doing = f"attributing the answer to prompt {index}"
        if not len(target.prompt_ids) or not len(target.answer_ids):
            raise UserError(
                doing,
                found=f"{len(target.prompt_ids)} tokens of a prompt, "
                f"{len(target.answer_ids)} of an answer",
                expected="at least one of each",
                fix="leave this question out",
            )
        largest = int(max(target.prompt_ids.max(), target.answer_ids.max()))
        if largest >= vocabulary:
            raise UserError(
                doing,
                found=f"token {largest}, but the model knows {vocabulary:,}",
                expected="a tokenizer that belongs to the model",
                fix="use the tokenizer that was published with the model",
            )
        n_tokens = len(target.input_ids)
        if context is not None and n_tokens > context:
            raise UserError(
                doing,
                found=f"{n_tokens:,} tokens",
                expected=f"at most {context:,}, the model's context",
                fix="leave this question out, or ask with a shorter stimulus",
            )
