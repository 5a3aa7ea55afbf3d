"""Prompts as tokens, and what of them goes where the context window is too small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.prefix import Tokens


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt's tokens.

    Attributes:
        tokens: (n,) token ids.
        stays: (n,) which of them must not be cut, an image's; None where all may.
        is_cut: whether the tokenizer has cut it already.
    """

    tokens: Tokens
    stays: NDArray[np.bool_] | None = None
    is_cut: bool = False

    def __len__(self) -> int:
        return len(self.tokens)

    def within(self, room: int) -> Tokens:
        """At most `room` tokens: the first of those that may go are gone.

        Raises:
            UserError: what must stay does not fit.
        """
        return self.tokens[self.kept_within(room)]

    def kept_within(self, room: int) -> NDArray[np.int64]:
        """The places of the tokens of `within`, in order."""
        n_gone = max(0, len(self) - room)
        if self.stays is None:
            return np.arange(n_gone, len(self))
        may_go = np.flatnonzero(~self.stays)
        if len(may_go) < n_gone or room <= 0:
            raise UserError(
                "fitting an image into the context window",
                found=f"images of {int(self.stays.sum()):,} tokens",
                expected=f"room for them in {max(room, 0):,} tokens: images are never cut",
                fix="make them smaller (--model_args ...,image_max_side=336 or max_pixels=...), "
                "show fewer (max_images=1), or raise max_length or lower max_gen_toks",
            )
        return np.delete(np.arange(len(self)), may_go[:n_gone])


@dataclass(frozen=True)
class EncodedPair:
    """A context and an option's tokens (c,) after it."""

    context: EncodedPrompt
    option: Tokens

    def __len__(self) -> int:
        return len(self.context) + len(self.option)

    def within(self, room: int) -> Tokens:
        """At most `room` tokens of context and option, the option whole.

        Raises:
            UserError: what must stay does not fit.
        """
        return np.concatenate([self.context.within(room - len(self.option)), self.option])
