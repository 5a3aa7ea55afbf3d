"""What a dose does: next tokens, fixed continuations and new ones, by direction and dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.encoding import encode_prompts
from emo_harness.activations.loading import LoadedModel
from emo_harness.axes import Axis
from emo_harness.steer.controls import Direction, with_controls
from emo_harness.steer.forward import Plain, Tokens
from emo_harness.steer.lexicon import text_value
from emo_harness.steer.prompts import SteeredPrompt, start_of, starts
from emo_harness.steer.sampling import sample
from emo_harness.steer.steering import Positions, Steering
from emo_harness.steer.word_sets import FirstTokens

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How a steering is measured.

    Attributes:
        axis: at the layers that are steered.
        doses: sorted, 0 among them.
        positions: see `Steering`.
        n_controls: random directions, and as many orthogonal ones.
        n_continuations: of each prompt, by which the classes are told apart.
        max_tokens: of a continuation.
        n_samples: new continuations of each prompt under each dose; 0 for none.
        seed: of controls and continuations.
    """

    axis: Axis
    doses: tuple[float, ...]
    positions: Positions
    n_controls: int
    n_continuations: int
    max_tokens: int
    n_samples: int
    seed: int


@dataclass(frozen=True)
class Continuations:
    """Continuations that the unsteered model has written, and where they are scored.

    Attributes:
        starts: tokens of the prompt that each is scored after.
        tokens: of each.
        poles: of the prompts that they were sampled from.
        clusters: groups of these prompts.
    """

    starts: list[Tokens]
    tokens: list[Tokens]
    poles: list[int]
    clusters: list[str]


def measure(
    loaded: LoadedModel,
    prompts: Sequence[SteeredPrompt],
    by_class: Sequence[SteeredPrompt],
    words: FirstTokens,
    settings: Settings,
    lexicon: Mapping[str, float] | None = None,
    *,
    quiet: bool = False,
) -> pd.DataFrame:
    """Measure an axis and its controls at every dose.

    Args:
        prompts: whose next token is looked at (the neutral ones among them).
        by_class: from whose classes continuations are sampled.
        words: outcome words.
        lexicon: values of words, for new continuations.

    Returns:
        One row per measure, direction, dose and item: columns measure, direction, kind, dose,
        item, pole, cluster, value. Measures are

        log_odds: logsumexp of the positive words' log-probabilities minus that of the negative
            ones', nats; item is a prompt.
        kl_nats: KL(steered || unsteered) of the next token, sum_t p_t (log p_t - log q_t).
        log_probability: of a continuation that the unsteered model wrote, nats per token.
        sample_value: mean value of a new continuation's words in the lexicon; NaN without any.
        sample_log_probability: of a new continuation under the unsteered model, nats per token.

    Raises:
        UserError: a prompt beyond the context window, or NaN.
        RuntimeError: a dose of 0 changed something.
    """
    return _Measuring(loaded, prompts, by_class, words, settings, lexicon, quiet).run()


class _Measuring:
    def __init__(
        self,
        loaded: LoadedModel,
        prompts: Sequence[SteeredPrompt],
        by_class: Sequence[SteeredPrompt],
        words: FirstTokens,
        settings: Settings,
        lexicon: Mapping[str, float] | None,
        quiet: bool,
    ) -> None:
        self.tokenizer = loaded.tokenizer
        self.settings = settings
        self.words = words
        self.lexicon = lexicon
        self.by_class = by_class
        self.prompts = [prompts[place] for place in starts(prompts)]
        self.encoded = encoded(self.tokenizer, self.prompts)
        self.directions = with_controls(settings.axis, settings.n_controls, settings.seed)
        self.rows: list[dict[str, Any]] = []
        self.quiet = quiet
        self.plain = Plain(loaded.model, loaded.layout)

    def run(self) -> pd.DataFrame:
        import pandas as pd
        from tqdm import tqdm

        self.continuations = continuations_of(
            self.plain, self.tokenizer, self.by_class, self.settings
        )
        with tqdm(
            total=self._n_sequences(), desc="steering", unit="seq", disable=self.quiet or None
        ) as bar:
            self.plain = replace(self.plain, advance=bar.update)
            self._measure_all()
        return pd.DataFrame(self.rows)

    def _measure_all(self) -> None:
        unsteered = self.plain.next_log_probabilities(self.encoded)
        scores = self._scores(None)
        at_zero = Steering(self.settings.axis, 0.0, self.settings.positions)
        if not torch.equal(unsteered, self.plain.next_log_probabilities(self.encoded, at_zero)):
            raise RuntimeError("steering with a dose of 0 changed the model's logits")
        for direction in self.directions:
            for dose in self.settings.doses:
                steering = Steering(direction.axis, dose, self.settings.positions)
                found, scored = unsteered, scores
                if dose:
                    found = self.plain.next_log_probabilities(self.encoded, steering)
                    scored = self._scores(steering)
                self._add_next(direction, dose, found, unsteered)
                self._add_scores(direction, dose, scored)
                if self._samples(direction, dose):
                    self._add_samples(direction, dose, steering)

    def _scores(self, steering: Steering | None) -> Floats:
        """(n,) nats per token."""
        own = self.continuations
        totals = self.plain.scores(own.starts, own.tokens, steering)
        return totals / np.array([len(tokens) for tokens in own.tokens])

    def _add_next(
        self, direction: Direction, dose: float, found: torch.Tensor, unsteered: torch.Tensor
    ) -> None:
        odds = log_odds(found, self.words)
        divergence = kl_nats(found, unsteered)
        for item, prompt in enumerate(self.prompts):
            for measure_, values in (("log_odds", odds), ("kl_nats", divergence)):
                self._add(measure_, direction, dose, item, prompt.pole, prompt.group, values[item])

    def _add_scores(self, direction: Direction, dose: float, scored: Floats) -> None:
        own = self.continuations
        for item, (pole, cluster) in enumerate(zip(own.poles, own.clusters, strict=True)):
            self._add("log_probability", direction, dose, item, pole, cluster, scored[item])

    def _add_samples(self, direction: Direction, dose: float, steering: Steering) -> None:
        by_prompt = sample(
            self.plain,
            self.encoded,
            self.settings.n_samples,
            self.settings.max_tokens,
            end_token=self.tokenizer.eos_token_id,
            seed=self.settings.seed,
            steering=steering,
        )
        places = [place for place, found in enumerate(by_prompt) for _ in found]
        tokens = [one for found in by_prompt for one in found]
        if not tokens:
            return
        totals = self.plain.scores([self.encoded[place] for place in places], tokens)
        for item, (place, one) in enumerate(zip(places, tokens, strict=True)):
            prompt = self.prompts[place]
            text = self.tokenizer.decode(one.tolist(), skip_special_tokens=True)
            value = text_value(text, self.lexicon or {})
            for measure_, found in (
                ("sample_value", value),
                ("sample_log_probability", totals[item] / len(one)),
            ):
                self._add(measure_, direction, dose, item, prompt.pole, prompt.group, found)

    def _samples(self, direction: Direction, dose: float) -> bool:
        """Sampling takes longest: controls are sampled at the ends of the doses alone."""
        ends = (self.settings.doses[0], self.settings.doses[-1])
        return self.settings.n_samples > 0 and (direction.kind == "axis" or dose in ends)

    def _add(
        self,
        measure_: str,
        direction: Direction,
        dose: float,
        item: int,
        pole: int,
        cluster: str,
        value: float,
    ) -> None:
        self.rows.append(
            {
                "measure": measure_,
                "direction": direction.name,
                "kind": direction.kind,
                "dose": dose,
                "item": item,
                "pole": pole,
                "cluster": cluster,
                "value": float(value),
            }
        )

    def _n_sequences(self) -> int:
        n_prompts, n_own = len(self.encoded), len(self.continuations.tokens)
        n_steered = len(self.directions) * sum(dose != 0 for dose in self.settings.doses)
        n_sampled = sum(
            self._samples(direction, dose)
            for direction in self.directions
            for dose in self.settings.doses
        )
        sampled = 2 * n_sampled * n_prompts * self.settings.n_samples
        return (n_steered + 2) * n_prompts + (n_steered + 1) * n_own + sampled


def log_odds(log_probabilities: torch.Tensor, words: FirstTokens) -> Floats:
    """(n,) nats: of the next token being in the positive rather than in the negative set."""
    sides = [
        log_probabilities[:, list(tokens)].double().logsumexp(dim=-1)
        for tokens in (words.positive, words.negative)
    ]
    return np.asarray((sides[0] - sides[1]).numpy())


def kl_nats(steered: torch.Tensor, unsteered: torch.Tensor) -> Floats:
    """(n,) nats: sum_t p_t (log p_t - log q_t), of log-probabilities (n, vocabulary)."""
    p, q = steered.double(), unsteered.double()
    terms = torch.where(p > -torch.inf, p.exp() * (p - q), torch.zeros_like(p))
    return np.asarray(terms.sum(dim=-1).numpy())


def continuations_of(
    plain: Plain, tokenizer: Any, by_class: Sequence[SteeredPrompt], settings: Settings
) -> Continuations:
    """Sample from every prompt, and say where each continuation is scored."""
    tokens = encoded(tokenizer, by_class)
    found = sample(
        plain,
        tokens,
        settings.n_continuations,
        settings.max_tokens,
        end_token=tokenizer.eos_token_id,
        seed=settings.seed,
    )
    start = start_of(by_class)
    places = [place for place, own in enumerate(found) for _ in own]
    return Continuations(
        starts=[tokens[start[place]] for place in places],
        tokens=[one for own in found for one in own],
        poles=[by_class[place].pole for place in places],
        clusters=[by_class[place].group for place in places],
    )


def encoded(tokenizer: Any, prompts: Sequence[SteeredPrompt]) -> list[Tokens]:
    """Token ids of each prompt."""
    import pandas as pd

    return encode_prompts(tokenizer, pd.DataFrame({"text": [one.text for one in prompts]})).tokens
