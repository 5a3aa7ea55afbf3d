"""Leave-one-out: what an answer's log-probability loses when a word is not there.

The one attribution that is exact: the prompt without the word is a prompt like any other, and the
model is asked. The others are judged by it. All variants of some prompts are asked together, so
that an engine which shares prefixes computes each up to the word alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.attribution.pieces import PromptPieces

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel
    from emo_harness.lm_models.shared_prefix import SharedPrefixLM

Floats = NDArray[np.float64]
Pair = tuple[str, str]


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt whose answer is attributed to its words.

    Attributes:
        text: the prompt.
        answer: the continuation whose log-probability is looked at, leading space included.
        pieces: of the prompt.
        bare: the question's prompt without the stimulus, which is control's; None where this is it.
    """

    text: str
    answer: str
    pieces: PromptPieces
    bare: str | None = None


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What leaving out changes; nats, positive where what was left out makes the answer likelier.

    Attributes:
        log_probability: log p(answer | prompt).
        pieces: (n_pieces,) log p(answer | prompt) - log p(answer | prompt without the word); NaN
            for pieces that are no words.
        stimulus: the same of the whole stimulus, as control leaves it out; NaN where there is none.
    """

    log_probability: float
    pieces: Floats
    stimulus: float


def leave_one_out(lm: Any, asked: Sequence[AskedPrompt]) -> list[LeftOut]:
    """Leave out every word of each prompt, one at a time, and the stimulus as a whole.

    Args:
        lm: an lm-eval model, e.g. `scorer`'s.
    """
    pairs: list[Pair] = []
    for one in asked:
        pairs.append((one.text, one.answer))
        for word in one.pieces.words:
            piece = one.pieces.pieces[word]
            pairs.append((without(one.text, piece.first, piece.after), one.answer))
        if one.bare is not None:
            pairs.append((one.bare, one.answer))
    values = iter(log_probabilities(lm, pairs).tolist())
    found = []
    for one in asked:
        whole = next(values)
        scores = np.full(len(one.pieces.pieces), np.nan)
        for word in one.pieces.words:
            scores[word] = whole - next(values)
        stimulus = whole - next(values) if one.bare is not None else np.nan
        found.append(LeftOut(whole, scores, stimulus))
    return found


def without(text: str, first: int, after: int) -> str:
    """The text without these characters and one character of space beside them.

    A space goes rather than the end of a line; what stands alone on a line takes it along.
    """
    left, right = text[max(first - 1, 0) : first], text[after : after + 1]
    takes_left = left.isspace() and (left != "\n" or right == "\n" or not right.isspace())
    takes_right = not takes_left and right.isspace()
    return text[: first - takes_left] + text[after + takes_right :]


def log_probabilities(lm: Any, pairs: Sequence[Pair]) -> Floats:
    """(n,) log p(answer | prompt) in nats, of (prompt, answer) each; equal pairs are asked once.

    Raises:
        UserError: an answer, or a prompt, without tokens.
    """
    from lm_eval.api.instance import Instance

    distinct = {pair: number for number, pair in enumerate(dict.fromkeys(map(_askable, pairs)))}
    requests = [
        Instance(
            request_type="loglikelihood",
            doc={},
            arguments=pair,
            idx=number,
            metadata=("attribution", number, 1),
        )
        for pair, number in distinct.items()
    ]
    answers = lm.loglikelihood(requests, disable_tqdm=True) if requests else []
    values = [float(log_probability) for log_probability, _ in answers]
    return np.array([values[distinct[_askable(pair)]] for pair in pairs], np.float64)


def scorer(loaded: LoadedModel, **kwargs: Any) -> SharedPrefixLM:
    """The lm-eval model that asks a loaded model, computing what prompts share once.

    Args:
        kwargs: arguments of lm-eval's Hugging Face model that decide how a prompt is encoded, e.g.
            add_bos_token.
    """
    from emo_harness.lm_models.shared_prefix import SharedPrefixLM

    # lm-eval warns of every model that was loaded before.
    host = logging.getLogger("lm_eval.models.huggingface")
    level = host.level
    host.setLevel(logging.ERROR)
    try:
        return SharedPrefixLM(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            backend="causal",
            device=str(loaded.layout.base.device),
            **kwargs,
        )
    finally:
        host.setLevel(level)


def _askable(pair: Pair) -> Pair:
    """lm-eval asks an empty prompt, but none of spaces alone."""
    prompt, answer = pair
    return (prompt if prompt.strip() else "", answer)
