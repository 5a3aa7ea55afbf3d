"""What our models have in common that compute prompts as one trie: `emo-hf` and `emo-vlm`."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import postprocess_generated_text

from emo_harness.errors import UserError
from emo_harness.lm_models.decoding_rule import DecodingRule, read_rule, seed_of
from emo_harness.lm_models.encoded import EncodedPair, EncodedPrompt
from emo_harness.lm_models.one_by_one import Scored
from emo_harness.lm_models.packed_engine import PackedEngine
from emo_harness.lm_models.progress import Progress
from emo_harness.lm_models.prompt_encoder import PromptEncoder
from emo_harness.lm_models.refusals import (
    require_room,
    require_tokens,
    safetensors_alone,
)
from emo_harness.lm_models.sharing_record import SharingRecord
from emo_harness.lm_models.stop_rule import StopRule
from emo_harness.prefix import Continuation, Prompt, Tokens, base_model

log = logging.getLogger(__name__)

# Characters of prompts that are tokenised and planned at a time.
PORTION_CHARACTERS = 32_000_000


class PrefixSharing(HFLM):
    """Stands before lm-eval's model (the host) among the bases, and answers in its place.

    A subclass sets what is annotated here once its host is loaded. What cannot be shared is
    answered by the host, and the log says so, once for each reason.

    Attributes:
        NAME: of ours in `--model`, `HOST` of lm-eval's.
        sharing: what is counted.
    """

    NAME: str
    HOST: str
    sharing: SharingRecord
    # Why every request goes to the host; None where none has to.
    _reason: str | None
    _engine: PackedEngine
    _encoder: PromptEncoder
    _attention_window: int | None = None
    _n_cut_told = 0
    batch_size_per_gpu: Any

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        if self.enable_thinking:
            raise UserError(
                "scoring answer options",
                found="enable_thinking=True",
                expected="a task that generates text: options are scored without thinking",
                fix="leave enable_thinking out, or ask another task",
            )
        if self._reason:
            with self._as_host(self._reason, requests):
                return self._host_scores(requests, disable_tqdm)
        answers: list[Scored] = [(0.0, True)] * len(requests)
        with self.sharing.timed("total_s"), self._progress(requests, disable_tqdm) as progress:
            for portion in self._portions(requests, range(len(requests))):
                for index, answer in self._scored(requests, portion, progress):
                    answers[index] = answer
                    self.cache_hook.add_partial("loglikelihood", requests[index].args, answer)
                    progress.answered(requests[index])
        self._tell_what_was_cut()
        return answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        if self._reason:
            with self._as_host(self._reason, requests):
                return self._host_continues(requests, disable_tqdm)
        answers = [""] * len(requests)
        by_settings: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            by_settings[repr(self._settings_of(request))].append(index)
        with self.sharing.timed("total_s"), self._progress(requests, disable_tqdm) as progress:
            for indices in by_settings.values():
                for index, answer in self._continued(requests, indices, progress):
                    answers[index] = answer
                    self.cache_hook.add_partial("generate_until", requests[index].args, answer)
                    progress.answered(requests[index])
        self._tell_what_was_cut()
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The host's: whole texts share nothing that is worth its while."""
        reason = self._reason or "whole texts (loglikelihood_rolling)"
        with self._as_host(reason, requests):
            return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)

    def get_model_info(self) -> dict[str, Any]:
        """The host's facts, and how much was shared."""
        return {**super().get_model_info(), self.NAME.replace("-", "_"): self._as_recorded()}

    def _as_recorded(self) -> dict[str, Any]:
        return {
            "backend": self.HOST if self._reason else "packed",
            "why": self._reason,
            "processes": f"{self.rank + 1} of {self.world_size}",
            **self.sharing.as_json(),
            # What the host cuts is not counted.
            **({"truncated": None} if self._reason else {}),
        }

    def _create_model(self, *args: Any, **kwargs: Any) -> None:
        super()._create_model(*args, **safetensors_alone(kwargs))

    # What a subclass may have its own way with

    def _text_of(self, request: Any) -> str:
        """A text that is the same for equal prompts, and begins alike where these do."""
        text, other = request.args[:2]
        return text + other if isinstance(other, str) else text

    def _settings_of(self, request: Any) -> Mapping[str, Any]:
        """Generation settings that mean to `hf` what the request's mean to the host."""
        settings: Mapping[str, Any] = request.args[1]
        return settings

    def _characters_of(self, request: Any, text: str) -> int:
        """How much a request adds to a portion."""
        return len(text)

    def _encode_prompts(self, requests: Sequence[Any]) -> list[EncodedPrompt]:
        texts = [request.args[0] for request in requests]
        return self._encoder.to_continue(texts, truncation=bool(self.truncation))

    def _encode_pairs(self, requests: Sequence[Any]) -> list[EncodedPair]:
        return self._encoder.pairs([request.args[:2] for request in requests])

    def _why_by_host(self, tokens: Tokens, max_tokens: int = 0) -> str | None:
        """Why a prompt, and up to `max_tokens` after it, are the host's; None if they are ours."""
        window = self._attention_window
        if window is not None and len(tokens) + max_tokens > window:
            return f"prompts beyond the attention window of {window} tokens"
        return None

    def _as_read(self, tokens: Tokens) -> list[int]:
        """A prompt's tokens as the host would hand them to penalties on repetition."""
        return tokens.tolist()

    def _host_scores(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def _host_continues(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        return super().generate_until(requests, disable_tqdm=disable_tqdm)

    # Log-likelihoods

    def _scored(
        self, requests: Sequence[Any], portion: list[int], progress: Progress
    ) -> Iterator[tuple[int, Scored]]:
        with self.sharing.timed("tokenizing_s"):
            encoded = self._encode_pairs([requests[index] for index in portion])
        packed: list[int] = []
        asked: list[Continuation] = []
        for_host: dict[str, list[int]] = defaultdict(list)
        for index, pair in zip(portion, encoded, strict=True):
            text, option = requests[index].args[:2]
            # lm-eval counts spaces at the end of a context to the option.
            if not option and text == text.rstrip():
                # The probability of nothing is 1.
                yield index, (0.0, True)
                continue
            require_tokens(pair.context.tokens, text)
            require_tokens(pair.option, option)
            require_room(len(pair.option), self.max_length)
            if len(pair) > self.max_length + 1:
                self.sharing.cut(requests[index])
            whole = pair.within(self.max_length + 1)
            reason = self._why_by_host(whole[:-1])
            if reason:
                for_host[reason].append(index)
                continue
            packed.append(index)
            asked.append(Continuation(whole[:-1], pair.option))
        if asked:
            for one in self._engine.scores(asked, progress):
                self.sharing.naive_tokens += len(asked[one.index].tokens)
                yield packed[one.index], (one.log_probability, one.is_greedy)
        for reason, indices in for_host.items():
            some = [requests[index] for index in indices]
            with self._as_host(reason, some):
                found = self._host_scores(some)
            yield from zip(indices, found, strict=True)

    # Generations

    def _continued(
        self, requests: Sequence[Any], indices: list[int], progress: Progress
    ) -> Iterator[tuple[int, str]]:
        """Answers to requests of equal settings."""
        settings = self._settings_of(requests[indices[0]])
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        rule = read_rule(
            settings,
            base_model(self.model).generation_config,
            default_max_tokens=self.max_gen_toks,
            eos=eos,
        )
        if isinstance(rule, str):
            yield from self._continued_by_host(requests, indices, rule)
            return
        keeps = self.cache_hook.dbdict is not None
        if rule.do_sample and keeps and not requests[indices[0]].args[1].get("do_sample"):
            # lm-eval's cache looks at `do_sample` alone.
            log.warning(
                "answers are drawn (temperature=%s) without do_sample=True, so that --use_cache "
                "keeps the first draw for all repeats of a question; with it nothing is kept",
                rule.temperature,
            )
        room = self.max_length - rule.max_tokens
        if room <= 0:
            raise UserError(
                "planning generations",
                found=f"max_gen_toks = {rule.max_tokens:,}",
                expected=f"less than the model's context window of {self.max_length:,} tokens",
                fix="--gen_kwargs max_gen_toks=..., or --model_args ...,max_length=...",
            )
        for portion in self._portions(requests, indices):
            yield from self._continued_portion(requests, portion, rule, room, progress)

    def _continued_portion(
        self,
        requests: Sequence[Any],
        indices: list[int],
        rule: DecodingRule,
        room: int,
        progress: Progress,
    ) -> Iterator[tuple[int, str]]:
        with self.sharing.timed("tokenizing_s"):
            encoded = self._encode_prompts([requests[index] for index in indices])
        stop = StopRule(self.tokenizer, rule.until, rule.end_tokens)
        prompts: list[Prompt] = []
        answered_by: list[list[int]] = []
        for_host: dict[str, list[int]] = defaultdict(list)
        place_of: dict[bytes, int] = {}
        repeats: Counter[Any] = Counter()
        for index, prompt in zip(indices, encoded, strict=True):
            request = requests[index]
            if len(prompt) > room or prompt.is_cut:
                self.sharing.cut(request)
            require_tokens(prompt.tokens, request.args[0])
            tokens = prompt.within(room)
            reason = self._why_by_host(tokens, rule.max_tokens)
            if reason:
                for_host[reason].append(index)
                continue
            key = tokens.tobytes()
            if rule.takes_most_probable and key in place_of:
                answered_by[place_of[key]].append(index)
                continue
            place_of[key] = len(prompts)
            pick = None
            if not rule.takes_most_probable:
                text = self._text_of(request)
                same = (request.task_name, request.doc_id, request.idx, text)
                seed = seed_of(text, request.args[1], repeats[same])
                pick = rule.pick(self._as_read(tokens), torch.Generator().manual_seed(seed))
                repeats[same] += 1
            prompts.append(Prompt(tokens, rule.max_tokens, stop, pick))
            answered_by.append([index])
        for one in self._engine.continued(prompts, progress) if prompts else ():
            answer = self._as_answer(one.generated, list(rule.until))
            naive = len(prompts[one.index].tokens) + len(one.generated) - 1
            self.sharing.naive_tokens += naive * len(answered_by[one.index])
            yield from ((index, answer) for index in answered_by[one.index])
        for reason, left in for_host.items():
            yield from self._continued_by_host(requests, left, reason)

    def _continued_by_host(
        self, requests: Sequence[Any], indices: Sequence[int], reason: str
    ) -> Iterator[tuple[int, str]]:
        some = [requests[index] for index in indices]
        with self._as_host(reason, some):
            found = self._host_continues(some)
        yield from zip(indices, found, strict=True)

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

    def _portions(self, requests: Sequence[Any], indices: Sequence[int]) -> Iterator[list[int]]:
        """Requests in the order of their texts, in parts that fit in memory."""
        texts = {index: self._text_of(requests[index]) for index in indices}
        portion: list[int] = []
        n_characters = 0
        for index in sorted(indices, key=texts.__getitem__):
            more = self._characters_of(requests[index], texts[index])
            if portion and n_characters + more > PORTION_CHARACTERS:
                yield portion
                portion, n_characters = [], 0
            portion.append(index)
            n_characters += more
        if portion:
            yield portion

    def _progress(self, requests: Sequence[Any], disable: bool) -> Progress:
        return Progress(requests, name=self.NAME, disable=disable or self.rank != 0)

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
        """Let the host answer, and say so once for each reason."""
        if self.sharing.fell_back(reason, len(requests)) and reason != self._reason:
            log.warning(
                "%s answers %d requests as `%s` does: %s",
                self.NAME,
                len(requests),
                self.HOST,
                reason,
            )
        batch_size = self.batch_size_per_gpu
        if self.world_size > 1 and batch_size == "auto":
            # Its search waits for all processes, and some may have nothing to hand over.
            self.batch_size_per_gpu = 1
        try:
            with self.sharing.timed("fallback_s"):
                yield
        finally:
            self.batch_size_per_gpu = batch_size
