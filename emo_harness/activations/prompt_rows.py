"""Prompts as rows: which vectors a capture holds, in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emo_harness.activations.encoding import SPAN_COLUMNS, EncodedPrompts, encode_prompts, shown
from emo_harness.activations.readings import Ints, Readings, readings_at
from emo_harness.errors import UserError, quoted
from emo_harness.prefix import Tokens, shared_length, trie_order

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel

# Columns that the index adds to those of the prompts.
INDEX_COLUMNS = ("prompt", "n_tokens", "span_tokens", "span_id", "token")
# Where configurations tell the context window, and the tokenizer's way to say that it knows none.
CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len", "seq_length")
NO_BOUND = 10**9


@dataclass(frozen=True)
class PromptRows:
    """The rows of a table of prompts.

    Attributes:
        prompts: the table.
        encoded: its prompts as tokens.
        order: (n_prompts,) their ordinals in trie order, so that shared beginnings lie together.
        readings: the rows, prompt after prompt in this order.
    """

    prompts: pd.DataFrame
    encoded: EncodedPrompts
    order: Ints
    readings: Readings

    def __len__(self) -> int:
        return len(self.readings)

    @property
    def naive_tokens(self) -> int:
        """Tokens of all prompts."""
        return int(self.encoded.n_tokens.sum())

    @cached_property
    def distinct_tokens(self) -> int:
        """Tokens of their trie."""
        tokens = [self.encoded.tokens[i] for i in self.order.tolist()]
        shared = [shared_length(one, other) for one, other in pairwise(tokens)]
        return self.naive_tokens - sum(shared)

    @cached_property
    def group_ends(self) -> list[int]:
        """The row after the last one of each distinct prompt."""
        rows = np.bincount(self.readings.prompt, minlength=len(self.order))[self.order]
        ends = np.cumsum(rows).tolist()
        keys = [self.encoded.tokens[i].tobytes() for i in self.order.tolist()]
        same = [one == other for one, other in pairwise(keys)]
        return [end for end, goes_on in zip(ends, [*same, False], strict=True) if not goes_on]

    def part(self, rows: slice) -> tuple[list[Tokens], Readings]:
        """The prompts of some rows, each once, and these rows counting within them."""
        part = self.readings.part(rows)
        ordinals, places = np.unique(part.prompt, return_inverse=True)
        sequences = [self.encoded.tokens[i] for i in ordinals.tolist()]
        return sequences, Readings(places.astype(np.int64), part.first, part.after)

    def index(self) -> pd.DataFrame:
        """(n_rows) what is known of each row: facts of the prompt, tokens, span."""
        facts = self.prompts.drop(columns=[c for c in SPAN_COLUMNS if c in self.prompts])
        prompt = self.readings.prompt
        table = facts.iloc[prompt].reset_index(drop=True)
        spans = self.encoded.spans
        _, span_ids = self.encoded.distinct_spans()
        without = (spans[:, 0] < 0)[prompt]
        for name, values in (("span_tokens", spans[:, 1] - spans[:, 0]), ("span_id", span_ids)):
            table[name] = pd.array(values[prompt], "Int64")
            table.loc[without, name] = pd.NA
        table["prompt"] = prompt
        table["n_tokens"] = self.encoded.n_tokens[prompt]
        table["token"] = self.readings.after - 1
        return table


def prompt_rows(loaded: LoadedModel, prompts: pd.DataFrame, position: str) -> PromptRows:
    """Encode prompts and lay out their rows.

    Args:
        loaded: the model.
        prompts: `text`, `span_first` and `span_last` (characters), and facts.
        position: see `readings_at`.

    Raises:
        UserError: prompts that cannot be read at this position, or exceed the model's context.
    """
    reserved = [column for column in INDEX_COLUMNS if column in prompts]
    if reserved:
        raise UserError(
            "reading prompts to capture",
            found=f"columns named {quoted(reserved)}",
            expected="names that the index does not use itself",
            fix="rename these columns",
        )
    encoded = encode_prompts(loaded.tokenizer, prompts)
    _refuse_odd_facts(prompts)
    order = np.array(trie_order(encoded.tokens), np.int64)
    readings = readings_at(encoded, position, order)
    _refuse_long(encoded, context_length(loaded))
    _refuse_foreign(encoded, loaded.model.get_input_embeddings().weight.shape[0])
    return PromptRows(prompts.reset_index(drop=True), encoded, order, readings)


def context_length(loaded: LoadedModel) -> int | None:
    """The most tokens of a prompt, as the model's configuration or its tokenizer tells."""
    config: Any = loaded.layout.base.config
    told: Mapping[str, Any] = config.to_dict()
    for name in CONTEXT_FIELDS:
        value = told.get(name, getattr(config, name, None))
        if isinstance(value, int) and value > 0:
            return value
    bound = getattr(loaded.tokenizer, "model_max_length", None)
    return int(bound) if isinstance(bound, int) and bound < NO_BOUND else None


def _refuse_odd_facts(prompts: pd.DataFrame) -> None:
    """What the index cannot hold is told now, not when everything has been computed."""
    import pyarrow as pa

    try:
        pa.Table.from_pandas(prompts, preserve_index=False)
    except pa.ArrowException as error:
        raise UserError(
            "reading facts of prompts",
            found=quoted(map(str, error.args)),
            expected="values of one kind in each column",
            fix="make them all numbers or all text",
        ) from error


def _refuse_long(encoded: EncodedPrompts, most: int | None) -> None:
    lengths = encoded.n_tokens
    if most is None or lengths.max() <= most:
        return
    longest = int(lengths.argmax())
    n_long = int((lengths > most).sum())
    raise UserError(
        f"reading prompt {longest} ({shown(encoded.texts[longest])})",
        found=f"{lengths[longest]:,} tokens"
        + (f", and {n_long - 1:,} more prompts that are too long" if n_long > 1 else ""),
        expected=f"at most {most:,}, the model's context",
        fix="shorten these prompts or leave them out; nothing was computed",
    )


def _refuse_foreign(encoded: EncodedPrompts, vocabulary: int) -> None:
    for index, tokens in enumerate(encoded.tokens):
        if int(tokens.max()) >= vocabulary:
            raise UserError(
                f"reading prompt {index} ({shown(encoded.texts[index])})",
                found=f"token {int(tokens.max())}, but the model knows {vocabulary:,}",
                expected="a tokenizer that belongs to the model",
                fix="use the tokenizer that was published with the model",
            )
