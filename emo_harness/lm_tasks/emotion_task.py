"""The task class: one lm-eval document is one question, its requests are all its arms.

`EmotionTask` wraps an upstream task. It lets lm-eval render and score, once per arm, and reports
per question how the arms differ, so that lm-eval's plain mean and standard error are the paired,
question-clustered estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

from datasets import Dataset, DatasetDict
from jinja2 import TemplateError
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from emo_harness import __version__, benchmarks, placement
from emo_harness.command_line import command_line
from emo_harness.errors import UserError, show_user_errors
from emo_harness.lm_tasks.answer_sets import closed_answer_sets
from emo_harness.lm_tasks.arms import Arm, arms_of
from emo_harness.lm_tasks.base_config import TaskDeclaration, base_config
from emo_harness.lm_tasks.hub_failures import hub_failures_told
from emo_harness.lm_tasks.model_record import model_record
from emo_harness.lm_tasks.options import METADATA_KEY, EmoOptions, read_options
from emo_harness.lm_tasks.scores import QuestionScores, share
from emo_harness.lm_tasks.templates import compiled_once
from emo_harness.lm_tasks.visual_prompts import followed
from emo_harness.runs import RECORD_SCHEMA
from emo_harness.stimuli import content_hash

show_user_errors()


class EmotionTask(ConfigurableTask):
    """A `ConfigurableTask` whose every document is asked under control, placebos and stimuli.

    Args:
        config: the task's YAML as lm-eval loads it. The key `emo_task` declares what is wrapped;
            `metadata["emo"]` holds what the user selected.

    Raises:
        UserError: a selection that cannot be met, or questions that cannot be had.
    """

    def __init__(self, config: Mapping[str, Any], **kwargs: Any) -> None:
        given = deepcopy({k: v for k, v in config.items() if k not in ("class", "emo_task")})
        self.declared = TaskDeclaration.model_validate(config["emo_task"])
        self.options: EmoOptions = read_options(given.get("metadata"))
        self.arms: tuple[Arm, ...] = self._choose_arms(given["task"])
        self.n_dropped = 0
        repeats = self._repeats(given)
        super().__init__(config={**base_config(self.declared), **given, **repeats}, **kwargs)
        self._upstream_templates = (self._config.description, self._config.doc_to_text)
        self._templates = {arm.id: self._templates_of(arm) for arm in self.arms}
        self._fallbacks = _filter_fallbacks(self._config.filter_list)
        self._config.metadata = {**(self._config.metadata or {}), METADATA_KEY: self._record()}

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the questions from where the user said, never from anywhere else."""
        asked = benchmarks.questions(
            self.declared.benchmark,
            self.declared.subtask,
            data_dir=self.options.data_dir,
            n_questions=self.options.questions,
            seed=self.options.questions_seed,
        )
        self.source = asked.source
        if asked.rows is not None:
            self.dataset = DatasetDict({self._split: Dataset.from_list(asked.rows)})
        else:
            self._download_from_hub(dataset_kwargs, **kwargs)
        if self.declared.mode == "mc":
            self._close_answer_sets()

    def build_all_requests(self, **kwargs: Any) -> None:
        if kwargs.get("cache_requests"):
            raise UserError(
                f"building the requests of {self.config.task}",
                found="--cache_requests",
                expected="no request cache, whose key ignores the arms: it would serve old prompts",
                fix="leave the flag out; --use_cache FILE keeps answers, one file per model",
            )
        with compiled_once():
            super().build_all_requests(**kwargs)

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> list[Any]:
        """One rendered prompt per arm; the worked examples are drawn once and shared."""
        rng = getattr(getattr(self, "sampler", None), "rnd", None)
        drawn_from = rng.getstate() if rng else None
        in_chat = bool(kwargs.get("apply_chat_template"))
        rendered: dict[Hashable, Any] = {}
        for arm in self.arms:
            if self._asked_alike(arm) in rendered:
                continue
            if rng:
                rng.setstate(drawn_from)
            with self._asked_under(arm), self._chat_template_told(in_chat):
                prompt = self._render(arm, doc, num_fewshot, **kwargs)
            rendered[self._asked_alike(arm)] = prompt
        return [rendered[self._asked_alike(arm)] for arm in self.arms]

    def construct_requests(
        self, doc: dict[str, Any], ctx: list[Any], **kwargs: Any
    ) -> list[Instance]:
        """The requests of every arm, control first, numbered through."""
        requests: list[Instance] = []
        for arm, context in zip(self.arms, ctx, strict=True):
            made = super().construct_requests(doc, context, **kwargs)
            of_arm = made if isinstance(made, list) else [made]
            for request in of_arm:
                # A model that counts what it does tells it by arm.
                request.arm = arm.id
            requests.extend(of_arm)
        for index, request in enumerate(requests):
            request.idx = index
        return requests

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score each arm with the base task's own scoring, then compare the arms."""
        if "bypass" in self._metric_fn_list:
            return {"bypass": None}
        per_arm = len(results) // len(self.arms)
        answers = [results[i * per_arm : (i + 1) * per_arm] for i in range(len(self.arms))]
        with compiled_once():
            scored, unparsed = self._scored(doc, answers)
        reported: dict[str, Any] = {}
        for metric in scored[0]:
            by_arm = {a.id: float(s[metric]) for a, s in zip(self.arms, scored, strict=True)}
            scores = QuestionScores(self.arms, by_arm, self.declared.family)
            reported.update(scores.named(metric))
            reported[f"{metric}_by_arm"] = by_arm
        reported["unparsed"] = {
            arm.id: int(flag) for arm, flag in zip(self.arms, unparsed, strict=True)
        }
        return reported

    def aggregation(self) -> dict[str, Callable[..., Any]]:
        if "bypass" in self._metric_fn_list:
            return super().aggregation()
        return {name: share if kind == "by_arm" else mean for name, kind in self._reported()}

    def higher_is_better(self) -> dict[str, bool]:
        if "bypass" in self._metric_fn_list:
            return super().higher_is_better()
        return {name: name != "unparsed" for name, _ in self._reported()}

    def _reported(self) -> Iterator[tuple[str, str]]:
        zeros = {arm.id: 0.0 for arm in self.arms}
        scores = QuestionScores(self.arms, zeros, self.declared.family)
        for metric in self._metric_fn_list:
            yield from ((name, "mean") for name in scores.named(metric))
            yield f"{metric}_by_arm", "by_arm"
        yield "unparsed", "by_arm"

    def _choose_arms(self, task: str) -> tuple[Arm, ...]:
        return arms_of(self.declared.family, self.options, task)

    def _asked_alike(self, arm: Arm) -> Hashable:
        """Equal for arms whose prompts have the same text."""
        return arm.id

    def _scored(
        self, doc: dict[str, Any], answers: Sequence[Any]
    ) -> tuple[list[dict[str, Any]], list[bool]]:
        """Per arm the base task's scores, and whether the answer could not be read."""
        score = super().process_results
        return [score(doc, a) for a in answers], [self._is_unparsed(a) for a in answers]

    @property
    def _split(self) -> str:
        """The one that upstream asks."""
        return str(self.config.test_split or self.config.validation_split)

    @contextmanager
    def _asked_under(self, arm: Arm) -> Iterator[None]:
        """Let lm-eval render with the arm's templates; worked examples keep upstream's."""
        self._config.description, self._config.doc_to_text = self._templates[arm.id]
        try:
            yield
        finally:
            self._config.description, self._config.doc_to_text = self._upstream_templates

    @contextmanager
    def _chat_template_told(self, in_chat: bool) -> Iterator[None]:
        """Tell what a model's chat template refuses; anything else passes."""
        try:
            yield
        except (ValueError, TemplateError) as error:
            told_by_tokenizer = isinstance(error, TemplateError) or "chat_template" in str(error)
            if not (in_chat and told_by_tokenizer):
                raise
            raise UserError(
                f"rendering {self.config.task} with --apply_chat_template",
                found=" ".join(str(error).split())[:150],
                expected="a chat template that takes these messages (lm-eval sends the task's "
                "description as a system message)",
                fix="leave the flag out, or use a model whose template has a system role",
            ) from error

    def _templates_of(self, arm: Arm) -> tuple[Any, Any]:
        description, question = self._upstream_templates
        text = arm.text
        if not text:
            return description, question
        if self.options.placement == "suffix":
            return description, followed(self._question_template(), text)
        if self.options.placement == "instruction":
            return placement.instruction(description or "", text, self.config.task), question
        return description, question

    def _question_template(self) -> Any:
        question = self._upstream_templates[1]
        return "{{" + question + "}}" if question in self.features else question

    def _render(self, arm: Arm, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> Any:
        render = super().fewshot_context
        if self.options.placement == "system" and not kwargs.get("apply_chat_template"):
            raise UserError(
                f"placing a stimulus at `system` in {self.config.task}",
                found="a run without a chat template, which has no system message",
                expected="--apply_chat_template",
                fix="add the flag, or use the placement prefix",
            )
        text = arm.text
        if not text:
            return render(doc, num_fewshot=num_fewshot, **kwargs)
        if self.options.placement == "system":
            kwargs["system_instruction"] = placement.system(kwargs.get("system_instruction"), text)
        if self.options.placement != "prefix":
            return render(doc, num_fewshot=num_fewshot, **kwargs)
        if kwargs.get("apply_chat_template") and kwargs.get("chat_template"):
            kwargs["chat_template"] = partial(_with_prefix, kwargs["chat_template"], text)
            return render(doc, num_fewshot=num_fewshot, **kwargs)
        return placement.prefix(render(doc, num_fewshot=num_fewshot, **kwargs), text)

    def _is_unparsed(self, answer: Sequence[Any]) -> bool:
        """Whether the filter chain gave its fallback or nothing; log-likelihoods always parse."""
        if self.OUTPUT_TYPE != "generate_until":
            return False
        parsed = answer[0]
        if isinstance(parsed, str):
            return not parsed.strip() or parsed in self._fallbacks
        return not parsed

    def _download_from_hub(self, dataset_kwargs: dict[str, Any] | None, **kwargs: Any) -> None:
        with hub_failures_told(self.source.place, self.config.task):
            super().download(dataset_kwargs, **kwargs)

    def _close_answer_sets(self) -> None:
        """Give every question its options, and drop those whose target is none of them."""
        split = self.dataset[self._split]
        kept, self._config.doc_to_choice = closed_answer_sets(split, self.config.task)
        self.n_dropped = len(split) - len(kept)
        self.dataset = DatasetDict({self._split: kept})

    def _repeats(self, given: Mapping[str, Any]) -> dict[str, int]:
        if self.options.repeats is None:
            return {}
        if given["output_type"] != "generate_until" and self.options.repeats > 1:
            raise UserError(
                f"asking {given['task']} several times",
                found=f"repeats = {self.options.repeats}",
                expected="1 for log-likelihoods, which are the same each time",
                fix="leave `repeats` out, or ask a task that generates answers",
            )
        return {"repeats": self.options.repeats}

    def _record(self) -> dict[str, Any]:
        """What is constant over the run; lm-eval writes it into its results file."""
        stimuli = [arm.stimulus for arm in self.arms if arm.stimulus is not None]
        return {
            "schema": RECORD_SCHEMA,
            "emo_harness": __version__,
            **self.declared.model_dump(),
            "placement": self.options.placement,
            "separator": placement.SEPARATORS[self.options.placement],
            "stimuli_sha256": content_hash(stimuli),
            "source": vars(self.source),
            "n_dropped": self.n_dropped,
            "command": command_line(),
            "model": model_record(self._config.metadata or {}),
            "arms": [arm.record() for arm in self.arms],
        }


def _with_prefix(
    chat_template: Callable[..., str], text: str, messages: list[dict[str, str]], **kwargs: Any
) -> str:
    return chat_template(placement.prefix_messages(messages, text), **kwargs)


def _filter_fallbacks(filter_list: Sequence[Mapping[str, Any]] | None) -> frozenset[str]:
    """What the task's filters return where they find no answer."""
    steps = [step for chain in filter_list or [] for step in chain["filter"]]
    return frozenset({"[invalid]", *(s["fallback"] for s in steps if s.get("fallback"))})
