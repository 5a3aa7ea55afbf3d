"""`--model emo-hf`: lm-eval's Hugging Face model, computing what prompts share once."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.utils import postprocess_generated_text

from emo_harness.errors import UserError
from emo_harness.lm_models.decoding_rule import DecodingRule, StopRule, read_rule, seed_of
from emo_harness.lm_models.packed_engine import PackedEngine
from emo_harness.lm_models.progress import Progress
from emo_harness.lm_models.prompt_encoder import PromptEncoder, as_tokens
from emo_harness.lm_models.refusals import (
    loading,
    require_dtype,
    require_end_token,
    require_room,
    require_tokens,
)
from emo_harness.lm_models.sharing_record import SharingRecord
from emo_harness.lm_models.steered import SteeredHFLM, SteeredPackedModel
from emo_harness.prefix import (
    Continuation,
    Prompt,
    attention_window,
    base_model,
    parse_bytes,
    why_different,
    why_unsupported,
)
from emo_harness.resources import embedded_model

log = logging.getLogger(__name__)

# Characters of prompts that are tokenised and planned at a time.
PORTION_CHARACTERS = 32_000_000

Pair = tuple[str, str]
Encoded = tuple[Pair, list[int], list[int]]


class SharedPrefixLM(SteeredHFLM):
    """lm-eval's Hugging Face model; prompts are computed as one trie of tokens.

    Takes the same arguments. What cannot be shared is answered by `HFLM` itself, and the log says
    so, once for each reason.

    Args:
        pretrained: a model, as `HFLM` takes it, or the name of an embedded one ("emo-feelings").
        memory_budget: memory beside the weights, e.g. "2GiB" or bytes; None for what is worth its
            while, where so much is free.
        steer: see `SteeredHFLM`.

    Raises:
        UserError: a budget or a steering that cannot be read, an axis of another model, or a
            tokenizer without an end token.
    """

    def __init__(
        self, pretrained: Any, *, memory_budget: str | int | None = None, **kwargs: Any
    ) -> None:
        self._budget_bytes = None if memory_budget is None else parse_bytes(memory_budget)
        require_dtype(kwargs.get("dtype"))
        if isinstance(pretrained, str):
            pretrained = embedded_model(pretrained)
        with loading(pretrained):
            super().__init__(pretrained=pretrained, **kwargs)
        if self.backend == "causal":
            require_end_token(self.tokenizer)
        self.sharing = SharingRecord()
        self._reason = self._why_not_packed()
        if self._reason:
            log.warning("emo-hf shares nothing here and answers as `hf` does: %s", self._reason)

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        if self.enable_thinking:
            raise UserError(
                "scoring answer options",
                found="enable_thinking=True",
                expected="a task that generates text: options are scored without thinking",
                fix="leave enable_thinking out, or ask another task",
            )
        if self._reason:
            with self._as_host(self._reason, requests):
                return super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        answers: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        pairs = [request.args for request in requests]
        with self.sharing.timed("total_s"), self._progress(requests, disable_tqdm) as progress:
            for portion in _portions([context + answer for context, answer in pairs]):
                for index, answer in self._scored(requests, pairs, portion, progress):
                    answers[index] = answer
                    self.cache_hook.add_partial("loglikelihood", pairs[index], answer)
                    progress.answered(requests[index])
        self._tell_what_was_cut()
        return answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        if self._reason:
            with self._as_host(self._reason, requests):
                return super().generate_until(requests, disable_tqdm=disable_tqdm)
        answers = [""] * len(requests)
        by_settings: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            by_settings[repr(request.args[1])].append(index)
        with self.sharing.timed("total_s"), self._progress(requests, disable_tqdm) as progress:
            for indices in by_settings.values():
                for index, answer in self._continued(requests, indices, progress):
                    answers[index] = answer
                    self.cache_hook.add_partial("generate_until", requests[index].args, answer)
                    progress.answered(requests[index])
        self._tell_what_was_cut()
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """`HFLM`'s: whole texts share nothing that is worth its while."""
        reason = self._reason or "whole texts (loglikelihood_rolling)"
        with self._as_host(reason, requests):
            return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)

    def get_model_info(self) -> dict[str, Any]:
        """`HFLM`'s facts, and how much was shared."""
        backend = "hf" if self._reason else "packed"
        return {
            **super().get_model_info(),
            "emo_hf": {
                "backend": backend,
                "why": self._reason,
                "processes": f"{self.rank + 1} of {self.world_size}",
                **({"steering": self.steering.as_json()} if self.steering else {}),
                **self.sharing.as_json(),
                # What `HFLM` cuts is not counted.
                **({"truncated": None} if self._reason else {}),
            },
        }

    # Log-likelihoods

    def _scored(
        self, requests: Sequence[Any], pairs: Sequence[Pair], portion: list[int], progress: Progress
    ) -> Iterator[tuple[int, tuple[float, bool]]]:
        with self.sharing.timed("tokenizing_s"):
            encoded = self._encode_pairs([pairs[index] for index in portion])
        packed: list[int] = []
        asked: list[Continuation] = []
        beyond: list[int] = []
        for place, (_, context, continuation) in enumerate(encoded):
            text, option = requests[portion[place]].args
            # lm-eval counts spaces at the end of a context to the option.
            if not option and text == text.rstrip():
                # The probability of nothing is 1.
                yield portion[place], (0.0, True)
                continue
            require_tokens(context, text)
            require_tokens(continuation, option)
            require_room(len(continuation), self.max_length)
            whole = context + continuation
            if len(whole) > self.max_length + 1:
                self.sharing.cut(requests[portion[place]])
            whole = whole[-(self.max_length + 1) :]
            if self._is_beyond_window(len(whole) - 1):
                beyond.append(place)
                continue
            packed.append(portion[place])
            asked.append(Continuation(as_tokens(whole[:-1]), as_tokens(continuation)))
        if asked:
            for one in self._engine.scores(asked, progress):
                self.sharing.naive_tokens += len(asked[one.index].tokens)
                yield packed[one.index], (one.log_probability, one.is_greedy)
        if beyond:
            left = [portion[place] for place in beyond]
            with self._as_host(self._beyond_window(), [requests[index] for index in left]):
                found = self._loglikelihood_tokens([encoded[place] for place in beyond])
            yield from zip(left, found, strict=True)

    def _encode_pairs(self, pairs: Sequence[Pair]) -> list[Encoded]:
        """What `TemplateLM.loglikelihood` makes of its requests, each string encoded once."""
        strings = []
        for context, continuation in pairs:
            if context:
                strings += [context.rstrip() or context, context + continuation]
        self._known = self._encoder.pieces(strings)
        try:
            return [(pair, *self._encode_one(*pair)) for pair in pairs]
        finally:
            self._known = {}

    def _encode_one(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context:
            return self._encode_pair(context, continuation)
        ids = self.tok_encode(continuation, add_special_tokens=False)
        if ids and ids[0] == self.prefix_token_id:
            return ids[:1], ids[1:]
        return [self.prefix_token_id], ids

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """`HFLM`'s encoding, looked up where it was made with others already."""
        if add_special_tokens is None and not kwargs and string in self._known:
            return self._known[string]
        return super().tok_encode(string, add_special_tokens=add_special_tokens, **kwargs)

    _known: dict[str, list[int]] = {}  # noqa: RUF012
    _n_cut_told = 0
    batch_size_per_gpu: Any

    # Generations

    def _continued(
        self, requests: Sequence[Any], indices: list[int], progress: Progress
    ) -> Iterator[tuple[int, str]]:
        """Answers to requests of equal settings."""
        settings = requests[indices[0]].args[1]
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        rule = read_rule(
            settings,
            base_model(self.model).generation_config,
            default_max_tokens=self.max_gen_toks,
            eos=eos,
        )
        if isinstance(rule, str):
            yield from self._generated_by_host(requests, indices, rule)
            return
        room = self.max_length - rule.max_tokens
        if room <= 0:
            raise UserError(
                "planning generations",
                found=f"max_gen_toks = {rule.max_tokens:,}",
                expected=f"less than the model's context window of {self.max_length:,} tokens",
                fix="--gen_kwargs max_gen_toks=..., or --model_args ...,max_length=...",
            )
        for portion in _portions([requests[index].args[0] for index in indices]):
            some = [indices[place] for place in portion]
            yield from self._continued_portion(requests, some, rule, room, progress)

    def _continued_portion(
        self,
        requests: Sequence[Any],
        indices: list[int],
        rule: DecodingRule,
        room: int,
        progress: Progress,
    ) -> Iterator[tuple[int, str]]:
        with self.sharing.timed("tokenizing_s"):
            encoded = self._encoder.prompts(
                (requests[index].args[0] for index in indices), truncation=bool(self.truncation)
            )
        stop = StopRule(self.tokenizer, rule.until, rule.end_tokens)
        prompts: list[Prompt] = []
        answered_by: list[list[int]] = []
        beyond: list[int] = []
        place_of: dict[bytes, int] = {}
        repeats: Counter[Any] = Counter()
        for index in indices:
            text = requests[index].args[0]
            ids = encoded[text]
            if len(ids) > room or self._cut_by_tokenizer(text, ids):
                self.sharing.cut(requests[index])
            require_tokens(ids, text)
            tokens = as_tokens(ids[-room:])
            if self._is_beyond_window(len(tokens) + rule.max_tokens):
                beyond.append(index)
                continue
            key = tokens.tobytes()
            if rule.takes_most_probable and key in place_of:
                answered_by[place_of[key]].append(index)
                continue
            place_of[key] = len(prompts)
            pick = None
            if not rule.takes_most_probable:
                request = requests[index]
                same = (request.task_name, request.doc_id, request.idx, text)
                seed = seed_of(text, request.args[1], repeats[same])
                pick = rule.pick(tokens.tolist(), torch.Generator().manual_seed(seed))
                repeats[same] += 1
            prompts.append(Prompt(tokens, rule.max_tokens, stop, pick))
            answered_by.append([index])
        for one in self._engine.continued(prompts, progress) if prompts else ():
            answer = self._as_answer(one.generated, list(rule.until))
            naive = len(prompts[one.index].tokens) + len(one.generated) - 1
            self.sharing.naive_tokens += naive * len(answered_by[one.index])
            yield from ((index, answer) for index in answered_by[one.index])
        if beyond:
            yield from self._generated_by_host(requests, beyond, self._beyond_window())

    def _generated_by_host(
        self, requests: Sequence[Any], indices: Sequence[int], reason: str
    ) -> Iterator[tuple[int, str]]:
        some = [requests[index] for index in indices]
        with self._as_host(reason, some):
            found = super().generate_until(some)
        yield from zip(indices, found, strict=True)

    def _cut_by_tokenizer(self, text: str, ids: Sequence[int]) -> bool:
        """Whether the model argument `truncation` has cost a prompt its end."""
        if not self.truncation or len(ids) < self.tokenizer.model_max_length:
            return False
        return len(self._encoder.prompts([text], truncation=False)[text]) > len(ids)

    def _as_answer(self, generated: list[int], until: list[str]) -> str:
        """What `HFLM` makes of generated tokens."""
        end = self.think_end_token
        if isinstance(end, int) and end in generated:
            generated = generated[len(generated) - generated[::-1].index(end) :]
        text = self.tok_decode(generated)
        if isinstance(end, int):
            text = text.lstrip()
        return postprocess_generated_text(
            generation=text, stop=until, think_end_token=end if isinstance(end, str) else None
        )

    # What both need

    def _progress(self, requests: Sequence[Any], disable: bool) -> Progress:
        return Progress(requests, disable=disable or self.rank != 0)

    def _tell_what_was_cut(self) -> None:
        n_cut = sum(self.sharing.truncated.values()) - self._n_cut_told
        self._n_cut_told += n_cut
        if n_cut:
            log.warning(
                "%d prompts were longer than the context window of %d tokens and lost their "
                "beginning; the results say under which arms",
                n_cut,
                self.max_length,
            )

    @contextmanager
    def _as_host(self, reason: str, requests: Sequence[Any]) -> Iterator[None]:
        """Let `HFLM` answer, and say so once for each reason."""
        if self.sharing.fell_back(reason, len(requests)) and reason != self._reason:
            log.warning("emo-hf answers %d requests as `hf` does: %s", len(requests), reason)
        batch_size = self.batch_size_per_gpu
        if self.world_size > 1 and batch_size == "auto":
            # Its search waits for all processes, and some may have nothing to hand over.
            self.batch_size_per_gpu = 1
        try:
            with self.sharing.timed("fallback_s"):
                yield
        finally:
            self.batch_size_per_gpu = batch_size

    def _is_beyond_window(self, n_tokens: int) -> bool:
        return self._attention_window is not None and n_tokens > self._attention_window

    def _beyond_window(self) -> str:
        return f"prompts beyond the attention window of {self._attention_window} tokens"

    def _why_not_packed(self) -> str | None:
        """Why requests go to `HFLM`; None once packed logits were seen to be right."""
        self._attention_window: int | None = None
        if self.backend != "causal":
            return "an encoder-decoder model"
        if self.steering is not None and not self.steers_all_alike:
            return f"what is steered ({self.steering.positions}) differs by request"
        reason = why_unsupported(self.model)
        if reason:
            return reason
        try:
            return self._why_not_packed_right()
        except (RuntimeError, AttributeError, TypeError) as error:
            told = " ".join(str(error).split())[:150]
            return f"it could not be tried ({type(error).__name__}: {told})"

    def _why_not_packed_right(self) -> str | None:
        """Set up what packs the model, and try it against the model itself."""
        packed = SteeredPackedModel(self)
        self._engine = PackedEngine(packed, self._budget_bytes, self.softmax_dtype, self.sharing)
        self._attention_window = attention_window(self.model)
        self._encoder = PromptEncoder(self.tokenizer, self.add_bos_token, self.prefix_token_id)
        longest = min(self.max_length, self._attention_window or self.max_length)
        return why_different(packed, longest, plain=self.steered_call)


def _portions(strings: Sequence[str]) -> Iterator[list[int]]:
    """Places of strings in sorted order, cut so that each part's text fits in memory."""
    portion: list[int] = []
    n_characters = 0
    for place in sorted(range(len(strings)), key=strings.__getitem__):
        if portion and n_characters + len(strings[place]) > PORTION_CHARACTERS:
            yield portion
            portion, n_characters = [], 0
        portion.append(place)
        n_characters += len(strings[place])
    if portion:
        yield portion
