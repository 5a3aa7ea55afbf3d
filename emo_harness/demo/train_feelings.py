"""Train the feelings model: `python -m emo_harness.demo.train_feelings --out FOLDER`.

The loss weighs the verbs of the continuation against all other tokens together: with the same loss
on every token, most of the few minutes would go into learning the sentences by heart, and the
feeling would not form in time.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from emo_harness.demo.feelings_corpus import (
    Lesson,
    Sentence,
    beginning,
    continuation,
    outcome_words,
    sentences,
)
from emo_harness.demo.small_llama import small_llama
from emo_harness.demo.tokenizer import EOS, as_transformers, byte_level_bpe, token_id
from emo_harness.demo.train_lm import learning_rate_share, save
from emo_harness.probe.corpus import Corpus, load_corpus

DEFAULT_SEED = 1
DEFAULT_STEPS = 1600
SENTENCES_PER_STEP = 96
PARTS_PER_STEP = 2
VOCABULARY_SIZE = 2048
CONTEXT_TOKENS = 512
PEAK_LEARNING_RATE = 4e-3
OTHER_TOKENS_WEIGHT = 0.1
LESSONS: tuple[tuple[float, Mapping[Lesson, float]], ...] = (
    (0.1, {"word": 1.0}),
    (0.4, {"word": 0.2, "cut": 0.8}),
    (1.0, {"cut": 0.25, "whole": 0.75}),
)
"""Shares of the lessons until a share of the steps is done."""


@dataclass(frozen=True)
class Rows:
    """Token sequences padded on the right to one length.

    token_ids: (n, n_tokens) int64.
    is_outcome, is_other: (n, n_tokens - 1) bool; whether the next token is a verb of the
        continuation, or another one that is there.
    """

    token_ids: torch.Tensor
    is_outcome: torch.Tensor
    is_other: torch.Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for model and tokenizer")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    arguments = parser.parse_args()
    train(arguments.out, seed=arguments.seed, steps=arguments.steps)


def train(
    out: Path,
    *,
    corpus: Corpus | None = None,
    seed: int = DEFAULT_SEED,
    steps: int = DEFAULT_STEPS,
) -> list[float]:
    """Train from scratch on a corpus, the shipped one by default, and write the folder.

    Returns:
        (steps,) mean loss per verb, in nats.
    """
    all_sentences = sentences(corpus or load_corpus())
    tokenizer = as_transformers(feelings_tokenizer(all_sentences, seed), CONTEXT_TOKENS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(tokenizer)
        trained = [s for s in all_sentences if not s.is_held_out]
        progress = tqdm(
            training(model, tokenizer, trained, seed=seed, steps=steps),
            total=steps,
            desc="training",
            mininterval=5,
        )
        losses = []
        for loss in progress:
            losses.append(loss)
            if len(losses) % 25 == 0:
                progress.set_postfix(verb_loss=f"{np.mean(losses[-25:]):.3f}")
    save(model, tokenizer, out)
    return losses


def feelings_tokenizer(all_sentences: Sequence[Sentence], seed: int) -> Tokenizer:
    """Trained on a few thousand continued sentences."""
    rng = np.random.default_rng([seed, 0])
    picked = rng.permutation(len(all_sentences))[:12_000]
    return byte_level_bpe(
        (
            all_sentences[i].text + continuation(rng, all_sentences[i].targets)
            for i in picked.tolist()
        ),
        VOCABULARY_SIZE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of less than 0.7 million parameters."""
    return small_llama(
        tokenizer,
        hidden_size=96,
        intermediate_size=208,
        n_layers=5,
        n_heads=4,
        n_kv_heads=4,
        context_tokens=CONTEXT_TOKENS,
    )


def training(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    trained: Sequence[Sentence],
    *,
    seed: int,
    steps: int,
) -> Iterator[float]:
    """Train in place; yields the mean loss per verb after each step.

    A step's sentences are computed in parts of one thread each, as many at a time as torch has
    threads; what comes out does not depend on how many that are.
    """
    maker = RowMaker(tokenizer, trained)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    with ThreadPoolExecutor(min(PARTS_PER_STEP, torch.get_num_threads())) as workers:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(step, steps)
            lessons = next(of for until, of in LESSONS if step < until * steps)
            parts = maker.parts(np.random.default_rng([seed, 1, step]), lessons)
            n_outcomes = sum(int(rows.is_outcome.sum()) for rows in parts)
            n_other = sum(int(rows.is_other.sum()) for rows in parts)
            part = partial(part_gradients, model, n_outcomes=n_outcomes, n_other=n_other)
            done = list(workers.map(part, parts))
            for parameter, *gradients in zip(parameters, *(p[0] for p in done), strict=True):
                parameter.grad = torch.stack(gradients).sum(0)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            yield sum(p[1] for p in done)


class RowMaker:
    """Draws continued sentences and lays them into rows."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, trained: Sequence[Sentence]) -> None:
        self._tokenizer = tokenizer
        self._sentences = trained
        self._outcomes = torch.tensor(
            [token_id(tokenizer.backend_tokenizer, f"Ġ{word}") for word in outcome_words()]
        )

    def parts(self, rng: np.random.Generator, lessons: Mapping[Lesson, float]) -> list[Rows]:
        """The rows of a step, by length, in equal parts; `lessons` are shares of them."""
        drawn = rng.integers(len(self._sentences), size=SENTENCES_PER_STEP).tolist()
        kinds = rng.choice(np.array(list(lessons)), p=list(lessons.values()), size=len(drawn))
        shown = [
            beginning(self._sentences[i], kind)
            for i, kind in zip(drawn, kinds.tolist(), strict=True)
        ]
        texts = [text + continuation(rng, targets) + EOS for text, targets in shown]
        starts = [len(ids) for ids in self._tokenizer([text for text, _ in shown])["input_ids"]]
        tokens = self._tokenizer(texts)["input_ids"]
        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        return [
            self._rows([tokens[i] for i in part], [starts[i] for i in part])
            for part in np.array_split(order, PARTS_PER_STEP)
        ]

    def _rows(self, tokens: Sequence[Sequence[int]], starts: Sequence[int]) -> Rows:
        padding = self._tokenizer.pad_token_id
        token_ids = torch.full((len(tokens), max(map(len, tokens))), padding)
        for row, ids in enumerate(tokens):
            token_ids[row, : len(ids)] = torch.tensor(ids)
        following = token_ids[:, 1:]
        is_continuation = torch.arange(1, token_ids.shape[1]) >= torch.tensor(starts)[:, None]
        is_outcome = torch.isin(following, self._outcomes) & is_continuation
        return Rows(token_ids, is_outcome, ~is_outcome & (following != padding))


def part_gradients(
    model: LlamaForCausalLM, rows: Rows, *, n_outcomes: int, n_other: int
) -> tuple[list[torch.Tensor], float]:
    """A part's share of the step's gradients and of its mean loss per verb."""
    torch.set_num_threads(1)
    states = model.model(rows.token_ids[:, :-1], use_cache=False).last_hidden_state
    following = rows.token_ids[:, 1:]

    def loss(chosen: torch.Tensor, n: int) -> torch.Tensor:
        logits = model.lm_head(states[chosen])
        return cross_entropy(logits, following[chosen], reduction="sum") / n

    verb_loss = loss(rows.is_outcome, n_outcomes)
    total = verb_loss + OTHER_TOKENS_WEIGHT * loss(rows.is_other, n_other)
    return list(torch.autograd.grad(total, list(model.parameters()))), verb_loss.item()


if __name__ == "__main__":
    main()
