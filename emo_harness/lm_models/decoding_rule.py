"""How `generate_until` chooses tokens: lm-eval's and transformers' rules.

A rule is read from a request's generation settings and the model's own generation configuration,
as `HFLM` and `generate` would combine them. What it cannot express is named, so that the request
goes to `HFLM` instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from emo_harness.errors import UserError

# Settings of transformers' `GenerationConfig` that would change what is generated, with the values
# that change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_beam_groups": (None, 1),
    "penalty_alpha": (None, 0, 0.0),
    "dola_layers": (None,),
    "diversity_penalty": (None, 0.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,),
    "force_words_ids": (None,),
    "constraints": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "exponential_decay_length_penalty": (None,),
    "suppress_tokens": (None,),
    "begin_suppress_tokens": (None,),
    "sequence_bias": (None,),
    "guidance_scale": (None, 1, 1.0),
    "watermarking_config": (None,),
    "max_new_tokens": (None,),
    "use_mtp": (None, False),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "max_time": (None,),
    "stop_strings": (None,),
    "prompt_lookup_num_tokens": (None,),
    "assistant_early_exit": (None,),
    "token_healing": (None, False),
    "typical_p": (None, 1.0),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "top_h": (None,),
    "renormalize_logits": (None, False),
    "remove_invalid_values": (None, False),
}
_READ = ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_OF_THE_HOST = ("until", "max_gen_toks")


@dataclass(frozen=True)
class DecodingRule:
    """How tokens are chosen, and where they end.

    Attributes:
        max_tokens: the most tokens to generate.
        until: stop sequences, the end-of-text token's own text among them.
        end_tokens: token ids that end a generation.
        do_sample: whether tokens are drawn; otherwise the most probable one is taken.
        temperature, top_k, top_p, min_p: of the draw; None where not used.
        repetition_penalty: of tokens that the prompt or the generation has already; 1 for none.
    """

    max_tokens: int
    until: tuple[str, ...]
    end_tokens: frozenset[int]
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    @property
    def takes_most_probable(self) -> bool:
        """Whether logits alone decide."""
        return not self.do_sample and self.repetition_penalty == 1.0

    def pick(
        self, prompt: Sequence[int], generator: torch.Generator
    ) -> Callable[[torch.Tensor, list[int]], int]:
        """Chooses the next token of one prompt, from logits (vocabulary,) in float32."""
        steps = self.processors()
        at_first = generator.get_state()

        def chosen(logits: torch.Tensor, generated: list[int]) -> int:
            if not generated:
                # A prompt starts over where memory ran out, and draws the same again.
                generator.set_state(at_first)
            seen = torch.tensor([[*prompt, *generated]], device=logits.device)
            scores = logits[None]
            for step in steps:
                scores = step(seen, scores)
            if not self.do_sample:
                return int(scores.argmax())
            shares = torch.softmax(scores[0], dim=-1).cpu()
            return int(torch.multinomial(shares, 1, generator=generator))

        return chosen

    def processors(self) -> list[Any]:
        """transformers' own, in the order in which `generate` applies them.

        Raises:
            ValueError: a setting out of its range.
        """
        from transformers.generation import logits_process as processors

        steps: list[Any] = []
        if self.repetition_penalty != 1.0:
            steps.append(processors.RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.do_sample:
            if self.temperature != 1.0:
                steps.append(processors.TemperatureLogitsWarper(self.temperature))
            if self.top_k:
                steps.append(processors.TopKLogitsWarper(self.top_k))
            if self.top_p is not None and self.top_p < 1.0:
                steps.append(processors.TopPLogitsWarper(self.top_p))
            if self.min_p is not None:
                steps.append(processors.MinPLogitsWarper(self.min_p))
        return steps


def read_rule(
    settings: Mapping[str, Any], generation_config: Any, *, default_max_tokens: int, eos: str
) -> DecodingRule | str:
    """The rule that a request's settings ask for, or why it is `HFLM`'s to follow.

    Args:
        settings: a request's generation settings, as the task wrote them.
        generation_config: the model's own `GenerationConfig`.
        default_max_tokens: tokens to generate where the settings say nothing.
        eos: the text of the end-of-text token.

    Raises:
        UserError: settings that no model can follow.
    """
    try:
        return _read(settings, generation_config, default_max_tokens, eos)
    except (ValueError, TypeError) as error:
        raise UserError(
            "reading generation settings",
            found=" ".join(str(error).split())[:150],
            expected="settings that `hf` takes",
            fix="see --gen_kwargs and the model's generation_config.json",
        ) from error


def as_with_images(settings: Mapping[str, Any], generation_config: Any) -> Mapping[str, Any]:
    """Settings that mean to `hf` what these mean to `hf-multimodal`.

    A temperature alone lets `hf` draw, while `hf-multimodal` draws where the model's own
    configuration says so.
    """
    if settings.get("do_sample") is not None or not settings.get("temperature"):
        return settings
    return {**settings, "do_sample": bool(getattr(generation_config, "do_sample", False))}


def require_one_rule(
    asked: Iterable[tuple[Mapping[str, Any], bool]], generation_config: Any
) -> None:
    """Prompts of equal settings are decoded alike, whether they have images or not.

    Args:
        asked: settings of each request, and whether it has images.
        generation_config: the model's own.

    Raises:
        UserError: some would be drawn and others not, which is no comparison of arms.
    """
    kinds: dict[str, set[bool]] = {}
    for settings, has_images in asked:
        read = as_with_images(settings, generation_config)
        if read is not settings and not read["do_sample"]:
            kinds.setdefault(repr(settings), set()).add(has_images)
    if any(len(kind) > 1 for kind in kinds.values()):
        raise UserError(
            "reading generation settings",
            found="a temperature without do_sample, and prompts with and without images: the "
            "former would be answered by the most probable tokens, the latter be drawn",
            expected="one rule for all arms",
            fix="add do_sample=True or do_sample=False to --gen_kwargs",
        )


def _read(
    settings: Mapping[str, Any], generation_config: Any, default_max_tokens: int, eos: str
) -> DecodingRule | str:
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    given: dict[str, Any] = dict(normalize_gen_kwargs(dict(settings), default_max_tokens))
    until = handle_stop_sequences(given.get("until"), eos=eos)
    known = {*_READ, *_OF_THE_HOST, *_NEUTRAL, "eos_token_id"}
    if unknown := sorted(set(given) - known):
        return f"generation setting {unknown[0]}={given[unknown[0]]!r}"
    both = {name: getattr(generation_config, name, None) for name in (*_READ, *_NEUTRAL)} | given
    for name, neutral in _NEUTRAL.items():
        if both.get(name) not in neutral:
            return f"generation setting {name}={both[name]!r}"
    if "" in until:
        return "an empty stop string"
    # As `HFLM` does, which overrides the model's own temperature.
    temperature = given.get("temperature", 0.0)
    penalty = both["repetition_penalty"]
    end_tokens = given.get("eos_token_id", getattr(generation_config, "eos_token_id", None))
    if both["do_sample"] and not (temperature or 0) > 0:
        raise UserError(
            "reading generation settings",
            found=f"do_sample=True and temperature={temperature}",
            expected="a temperature above 0 where tokens are drawn",
            fix="--gen_kwargs do_sample=True,temperature=0.7, or leave do_sample out",
        )
    if int(given["max_gen_toks"]) < 1:
        raise UserError(
            "reading generation settings",
            found=f"max_gen_toks = {given['max_gen_toks']}",
            expected="at least 1 token to generate",
            fix="--gen_kwargs max_gen_toks=...",
        )
    rule = DecodingRule(
        max_tokens=int(given["max_gen_toks"]),
        until=tuple(stop for stop in until if stop is not None),
        end_tokens=_ids(end_tokens),
        do_sample=bool(both["do_sample"]),
        temperature=float(temperature or 1.0),
        top_k=50 if both["top_k"] is None else int(both["top_k"]),
        top_p=both["top_p"],
        min_p=both["min_p"],
        repetition_penalty=1.0 if penalty is None else float(penalty),
    )
    rule.processors()
    return rule


def _ids(given: Any) -> frozenset[int]:
    if given is None:
        return frozenset()
    listed = given.tolist() if isinstance(given, torch.Tensor) else given
    return frozenset(listed if isinstance(listed, (list, tuple)) else [listed])


def seed_of(prompt: str, settings: Mapping[str, Any], repeat: int) -> int:
    """The seed of one answer, the same in whatever company it is asked.

    Args:
        prompt: the request's text.
        settings: its generation settings.
        repeat: how many answers to the same request came before it.
    """
    key = json.dumps([prompt, settings, repeat, torch.initial_seed()], default=str)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
