"""How much is computed together, so that memory stays within a budget."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch

from emo_harness.errors import UserError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{letter}i": 1024**power for power, letter in enumerate("kmgt", start=1)}
# Shares of what is free now: others live on the same machine, and fragments are lost.
FREE_MEMORY_SHARE = 0.5
FREE_ACCELERATOR_SHARE = 0.8
# More than this gains little speed, and would make a run take far more memory than `hf` does.
BUDGET_BYTES = 512 * 1024**2
BUDGET_PER_WEIGHT = 0.3
SMALLEST = 16
# Generated tokens that own buffers have room for, and by how many they grow.
ROOM = 64


@dataclass(frozen=True)
class Limits:
    """Sizes of what is computed together.

    Attributes:
        pass_tokens: tokens of a forward pass, and of a chain.
        tree_tokens: tokens of a unit that is a tree.
        wanted: logits rows of a forward pass.
        rows: prompts that are continued together.
        budget_bytes: memory beside the model's weights; None for as much as it takes.
    """

    pass_tokens: int = 1024
    tree_tokens: int = 256
    wanted: int = 1024
    rows: int = 320
    budget_bytes: int | None = None

    def capacity(self, longest: int) -> int:
        """Tokens that a path cache must hold where the longest sequence has `longest`."""
        return longest + self.tree_tokens

    def smallest(self) -> Limits:
        """The least that `limits_within` goes down to."""
        return replace(
            self,
            pass_tokens=min(SMALLEST, self.pass_tokens),
            tree_tokens=min(SMALLEST, self.tree_tokens),
            wanted=min(SMALLEST, self.wanted),
        )

    def halved(self) -> Limits | None:
        """Half of everything; None where nothing is left to halve."""
        if max(self.pass_tokens, self.rows) == 1:
            return None
        return replace(
            self,
            pass_tokens=max(1, self.pass_tokens // 2),
            tree_tokens=max(1, self.tree_tokens // 2),
            wanted=max(1, self.wanted // 2),
            rows=max(1, self.rows // 2),
        )


@dataclass(frozen=True)
class Costs:
    """What a model's computing takes, in bytes.

    Attributes:
        cached_token: keys and values of a token, over all layers.
        layer_token: keys and values of a token in the layer that takes most.
        packed_token: everything else that is alive for a token during a pass.
        mask_cell: one cell of an attention mask.
        score_row: attention scores of one row with one column, in all heads of a layer.
        logits_row: the logits of one token, with what is derived from them.
        expanded_token: keys and values of a seen token, repeated for grouped heads where an
            accelerator's kernels want that.
    """

    cached_token: int
    layer_token: int
    packed_token: int
    mask_cell: int
    score_row: int
    logits_row: int
    expanded_token: int = 0

    @classmethod
    def of(cls, model: Any) -> Costs:
        """From a transformers model's configuration; on the safe side."""
        config = model.config.get_text_config()
        itemsize = next(model.parameters()).element_size()
        heads = config.num_attention_heads
        width = config.hidden_size
        head_dim = getattr(config, "head_dim", None) or width // heads
        n_kv = getattr(config, "num_key_value_heads", None) or heads
        inner = (
            getattr(config, "intermediate_size", None)
            or getattr(config, "ffn_dim", None)
            or getattr(config, "n_inner", None)
            or 4 * width
        )
        vocabulary = model.get_output_embeddings().weight.shape[0]
        layer_token = 2 * n_kv * head_dim * itemsize
        # Norms and rotations are computed in float32 whatever the model's dtype.
        wide = max(itemsize, 4)
        return cls(
            cached_token=config.num_hidden_layers * layer_token,
            layer_token=layer_token,
            packed_token=wide * (6 * width + 6 * heads * head_dim) + itemsize * 4 * inner,
            mask_cell=itemsize,
            # Scores and their softmax, and what goes into the next product.
            score_row=3 * 4 * heads,
            logits_row=vocabulary * (2 * itemsize + 4),
            expanded_token=(
                2 * heads * head_dim * itemsize
                if n_kv < heads and next(model.parameters()).device.type != "cpu"
                else 0
            ),
        )

    def of_pass(self, limits: Limits, longest: int) -> int:
        """Bytes that a pass may take, the path cache included."""
        seen = limits.capacity(longest)
        # A mask has one line for every token, and stands beside its complement while it is made.
        per_token = self.packed_token + 2 * self.mask_cell * seen
        return (
            (self.cached_token + self.expanded_token) * seen
            + limits.pass_tokens * per_token
            + limits.wanted * self.logits_row
        )

    def of_rows(
        self, n_rows: int, *, new: int, kept: int, columns: int, own: int, max_tokens: int
    ) -> int:
        """Bytes that prompts may take while they are continued, beside a pass.

        Args:
            n_rows: prompts.
            new: tokens that passes compute of them.
            kept: of these, copies that outlive the passes.
            columns: tokens that rows share with others, at most.
            own: tokens of its prompt that a row has for itself, at most.
            max_tokens: the most tokens to generate.
        """
        prompts = self.cached_token * kept
        width = own + max_tokens
        # Buffers take over from what the passes kept, and grow, a layer at a time.
        taken_over = prompts + self.cached_token * n_rows * min(ROOM, max_tokens)
        prefill = max(self.cached_token * new, taken_over) + self.layer_token * new
        steps = prompts + n_rows * (
            self.cached_token * max_tokens
            + self.score_row * (columns + width)
            + self.packed_token
            + self.logits_row
        )
        return max(prefill, steps) + 3 * self.layer_token * n_rows * width


def limits_within(
    budget_bytes: int,
    costs: Costs,
    longest: int,
    largest: Limits,
    *,
    share: float = 1.0,
    beside: int = 0,
) -> Limits:
    """The largest limits up to `largest` whose passes stay within a share of the budget.

    Args:
        budget_bytes: memory beside the model's weights.
        costs: of the model.
        longest: tokens of the longest prompt.
        largest: limits beyond which nothing is gained.
        share: of the budget that passes should use, where there is a choice.
        beside: bytes that one prompt takes beside a pass.

    Raises:
        UserError: not even the smallest pass fits.
    """
    limits = replace(largest, budget_bytes=budget_bytes)
    room = min(budget_bytes * share, budget_bytes - beside)
    while costs.of_pass(limits, longest) > room:
        # Logits rows of a large vocabulary weigh more than anything else: they go first.
        smaller = replace(
            limits,
            wanted=_less(limits.wanted),
            pass_tokens=_less(limits.pass_tokens),
            tree_tokens=_less(limits.tree_tokens),
        )
        if smaller == limits:
            break
        limits = smaller
    needed = costs.of_pass(limits, longest) + beside
    if needed > budget_bytes:
        raise too_small(budget_bytes, needed, longest)
    return limits


def _less(size: int) -> int:
    return min(size, max(SMALLEST, size // 2))


def too_small(budget_bytes: int, needed: float, longest: int) -> UserError:
    return UserError(
        "planning passes within the memory budget",
        found=f"a budget of {in_words(budget_bytes)}",
        expected=f"at least {in_words(needed)} for the longest prompt, of {longest:,} tokens",
        fix=f"--model_args ...,memory_budget={in_words(1.25 * needed).replace(' ', '')}, "
        "or shorten prompts with max_length",
    )


def parse_bytes(text: str | int) -> int:
    """Bytes from "2GiB", "500 MB", "1e9" or a number.

    Raises:
        UserError: none of these.

    Example:
        >>> parse_bytes("2GiB"), parse_bytes("500 MB"), parse_bytes(4096)
        (2147483648, 500000000, 4096)
    """
    found = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([kmgt]?i?)(?:b|bytes?)?\s*", str(text).lower())
    try:
        value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    except (ValueError, KeyError, OverflowError):
        value = 0.0
    if not 1 <= value < 2**63:
        raise UserError(
            "reading memory_budget",
            found=repr(text),
            expected="bytes above 0",
            fix="write e.g. memory_budget=2GiB, 500MB or 1e9",
        )
    return int(value)


def in_words(n_bytes: float) -> str:
    """Bytes for people, rounded up in the last digit shown.

    Example:
        >>> in_words(2 * 1024**3), in_words(1536)
        ('2.0 GiB', '1.5 KiB')
    """
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if n_bytes >= 1024**power:
            return f"{math.ceil(10 * n_bytes / 1024**power) / 10:.1f} {unit}"
    return f"{math.ceil(n_bytes)} bytes"


def default_budget(model: Any, device: torch.device) -> int:
    """Bytes beside the weights that are worth their while, where so much is free on the device."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    worth = BUDGET_BYTES + int(BUDGET_PER_WEIGHT * weights)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return min(worth, int(FREE_ACCELERATOR_SHARE * free))
    import psutil

    return min(worth, int(FREE_MEMORY_SHARE * psutil.virtual_memory().available))


class Indexed(Protocol):
    """An answer that says which question it belongs to."""

    @property
    def index(self) -> int: ...


Answer = TypeVar("Answer", bound=Indexed)


def despite_full_memory(
    answers_to: Callable[[Sequence[int], Limits], Iterator[Answer]],
    n_questions: int,
    limits: Limits,
    on_halved: Callable[[Limits], None],
) -> Iterator[Answer]:
    """Answer questions; where memory runs out, go on with half the limits for those left.

    Args:
        answers_to: answers the questions of these indices within these limits; an answer's
            `index` counts within them.
        n_questions: how many questions there are.
        limits: what to begin with.
        on_halved: told of the limits that are tried next.

    Raises:
        UserError: one token at a time still takes more memory than there is.
    """
    open_questions = list(range(n_questions))
    while open_questions:
        answered = set()
        try:
            for answer in answers_to(open_questions, limits):
                answered.add(answer.index)
                yield replace(answer, index=open_questions[answer.index])  # type: ignore[type-var]
            return
        except (RuntimeError, MemoryError) as error:
            smaller = limits.halved()
            if not is_out_of_memory(error):
                raise
            if smaller is None:
                raise UserError(
                    "running the model",
                    found="no memory left, even for one token at a time",
                    expected="room for the model and one prompt",
                    fix="use a smaller model, a smaller dtype, or shorten prompts with max_length",
                ) from error
        # Outside the handler, whose traceback keeps the failed pass's tensors alive.
        open_questions = [q for i, q in enumerate(open_questions) if i not in answered]
        limits = smaller
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        on_halved(limits)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on an accelerator or on the host."""
    told = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in told or "can't allocate memory" in told)
    )
