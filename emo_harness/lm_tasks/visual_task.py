"""The task class of visual tasks: arms are pictures, beside the text that upstream asks."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from datasets import DatasetDict
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from emo_harness.benchmarks import pictures
from emo_harness.errors import UserError
from emo_harness.images.shared_picture import SharedPicture
from emo_harness.lm_tasks import visual_prompts
from emo_harness.lm_tasks.arms import Arm
from emo_harness.lm_tasks.asking_model import asking_model, refuse_unable
from emo_harness.lm_tasks.emotion_task import EmotionTask
from emo_harness.lm_tasks.one_coin import scored_with_one_coin
from emo_harness.lm_tasks.options import ControlImage
from emo_harness.lm_tasks.visual_arms import visual_arms

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class VisualEmotionTask(EmotionTask):
    """An `EmotionTask` whose stimuli are pictures.

    Requests are those of lm-eval's multimodal tasks: a third argument holds the pictures, in the
    order in which their places stand in the text. A request without pictures has two arguments,
    as a text task's. No document holds a picture.
    """

    MULTIMODAL = True

    def _choose_arms(self, task: str) -> tuple[Arm, ...]:
        # Questions with pictures of their own need none beside control.
        control_image: ControlImage = "none" if self._asks_pictures else "grey"
        self.shown = visual_arms(self.declared.family, self.options, task, control_image)
        return self.shown.arms

    @property
    def _asks_pictures(self) -> bool:
        return self.declared.benchmark in pictures.BENCHMARKS

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the questions; pictures of theirs stay beside them."""
        super().download(dataset_kwargs, **kwargs)
        if self._asks_pictures:
            questions, self._embedded = pictures.taken_out(self.dataset[self._split])
            self.dataset = DatasetDict({self._split: questions})

    def build_all_requests(self, **kwargs: Any) -> None:
        model = asking_model(kwargs.get("chat_template"))
        task, options = self.config.task, self.declared.mode == "mc"
        bare = any(arm.id not in self.shown.pictures for arm in self.arms)
        refuse_unable(model, task, options=options, mixed=bare and not self._asks_pictures)
        super().build_all_requests(**kwargs)
        # Of questions with pictures of their own, some may have none.
        mixed = len({len(request.args) for request in self.instances}) > 1
        refuse_unable(model, task, options=options, mixed=mixed)

    def construct_requests(
        self, doc: dict[str, Any], ctx: list[Any], **kwargs: Any
    ) -> list[Instance]:
        """The requests of every arm with the arm's picture, beside the question's own."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        own = self._own_pictures(doc)
        for request in requests:
            beside = self._beside(request.arm, own)
            self._require_all_shown(beside)
            text = request.arguments[:2]
            request.arguments = (*text, {"visual": beside}) if beside else text
        return requests

    def _beside(self, arm_id: str, own: Sequence[Picture]) -> list[Picture]:
        picture = self.shown.pictures.get(arm_id)
        if picture is None:
            return list(own)
        return [picture, *own] if self.options.image_order == "first" else [*own, picture]

    def _require_all_shown(self, beside: Sequence[Picture]) -> None:
        """lm-eval's models leave out pictures beyond their `max_images`, and say nothing."""
        most = (self.config.metadata or {}).get("max_images")
        if most is not None and len(beside) > int(most):
            raise UserError(
                f"asking {self.config.task} of a model with max_images={most}",
                found=f"a prompt with {len(beside)} pictures, the stimulus among them",
                expected="a model that is shown all of them",
                fix=f"leave max_images out of --model_args, or make it at least {len(beside)}",
            )

    def _own_pictures(self, doc: dict[str, Any]) -> list[Picture]:
        if not self._asks_pictures:
            return []
        # Upstream's function picks from the document, which holds names of pictures.
        names = ConfigurableTask.doc_to_image(self, doc)
        asked = f"{self.config.task}, question {doc.get('id')}"
        opened = {n: SharedPicture.of(self._embedded.picture(n, asked)) for n in set(names)}
        return [opened[name] for name in names]

    def _asked_alike(self, arm: Arm) -> Hashable:
        return arm.text, arm.id in self.shown.pictures

    def _templates_of(self, arm: Arm) -> tuple[Any, Any]:
        description, question = super()._templates_of(arm)
        if self.options.image_order == "last" and arm.id in self.shown.pictures:
            if isinstance(question, str) and question in self.features:
                question = "{{" + question + "}}"
            question = visual_prompts.followed(question, visual_prompts.PLACEHOLDER)
        return description, question

    def _render(self, arm: Arm, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> Any:
        has_picture = arm.id in self.shown.pictures
        first = has_picture and self.options.image_order == "first"
        n_own = len(ConfigurableTask.doc_to_image(self, doc)) if self._asks_pictures else 0
        n_expected = n_own + has_picture
        asked = f"{self.config.task} under {arm.id}"
        if kwargs.get("apply_chat_template") and kwargs.get("chat_template"):
            kwargs["chat_template"] = visual_prompts.PictureInChat(
                kwargs["chat_template"], first, n_expected, asked
            )
            return super()._render(arm, doc, num_fewshot, **kwargs)
        prompt = super()._render(arm, doc, num_fewshot, **kwargs)
        prompt = visual_prompts.before(prompt) if first else prompt
        visual_prompts.require_places(prompt, n_expected, asked)
        return prompt

    def _scored(
        self, doc: dict[str, Any], answers: Sequence[Any]
    ) -> tuple[list[dict[str, Any]], list[bool]]:
        if not callable(self.config.process_results):
            return super()._scored(doc, answers)
        question = json.dumps(doc, sort_keys=True, default=str)
        scores, drew = scored_with_one_coin(
            lambda answer: ConfigurableTask.process_results(self, doc, answer), answers, question
        )
        unread = [self._is_unparsed(answer) for answer in answers]
        return scores, [a or b for a, b in zip(drew, unread, strict=True)]

    def _record(self) -> dict[str, Any]:
        return {
            **super()._record(),
            "image_set": self.shown.image_set,
            "image_order": self.options.image_order,
            "control_image": self.shown.control_image,
        }
