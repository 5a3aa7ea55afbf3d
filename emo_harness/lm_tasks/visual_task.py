"""The task class of visual tasks: arms are images, beside the text that upstream asks."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from datasets import DatasetDict
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from emo_harness.benchmarks import embedded_images
from emo_harness.errors import UserError
from emo_harness.images.shared_image import SharedImage
from emo_harness.lm_tasks import visual_prompts
from emo_harness.lm_tasks.arms import Arm
from emo_harness.lm_tasks.asking_model import asking_model, refuse_unable
from emo_harness.lm_tasks.emotion_task import EmotionTask
from emo_harness.lm_tasks.one_coin import scored_with_one_coin
from emo_harness.lm_tasks.options import ControlImage
from emo_harness.lm_tasks.visual_arms import visual_arms

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


class VisualEmotionTask(EmotionTask):
    """An `EmotionTask` whose stimuli are images.

    Requests are those of lm-eval's multimodal tasks: a third argument holds the images, in the
    order in which their places stand in the text. A request without images has two arguments,
    as a text task's. No document holds an image.
    """

    MULTIMODAL = True

    def _choose_arms(self, task: str) -> tuple[Arm, ...]:
        # Questions with images of their own need none beside control.
        control_image: ControlImage = "none" if self._asks_images else "grey"
        self.shown = visual_arms(self.declared.family, self.options, task, control_image)
        return self.shown.arms

    @property
    def _asks_images(self) -> bool:
        return self.declared.benchmark in embedded_images.BENCHMARKS

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the questions; images of theirs stay beside them."""
        super().download(dataset_kwargs, **kwargs)
        if self._asks_images:
            questions, self._embedded = embedded_images.taken_out(self.dataset[self._split])
            self.dataset = DatasetDict({self._split: questions})

    def build_all_requests(self, **kwargs: Any) -> None:
        model = asking_model(kwargs.get("chat_template"))
        task, options = self.config.task, self.declared.mode == "mc"
        bare = any(arm.id not in self.shown.images for arm in self.arms)
        refuse_unable(model, task, options=options, mixed=bare and not self._asks_images)
        super().build_all_requests(**kwargs)
        # Of questions with images of their own, some may have none.
        mixed = len({len(request.args) for request in self.instances}) > 1
        refuse_unable(model, task, options=options, mixed=mixed)

    def construct_requests(
        self, doc: dict[str, Any], ctx: list[Any], **kwargs: Any
    ) -> list[Instance]:
        """The requests of every arm with the arm's image, beside the question's own."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        own = self._own_images(doc)
        for request in requests:
            beside = self._beside(request.arm, own)
            self._require_all_shown(beside)
            text = request.arguments[:2]
            request.arguments = (*text, {"visual": beside}) if beside else text
        return requests

    def _beside(self, arm_id: str, own: Sequence[PILImage]) -> list[PILImage]:
        image = self.shown.images.get(arm_id)
        if image is None:
            return list(own)
        return [image, *own] if self.options.image_order == "first" else [*own, image]

    def _require_all_shown(self, beside: Sequence[PILImage]) -> None:
        """lm-eval's models leave out images beyond their `max_images`, and say nothing."""
        most = (self.config.metadata or {}).get("max_images")
        if most is not None and len(beside) > int(most):
            raise UserError(
                f"asking {self.config.task} of a model with max_images={most}",
                found=f"a prompt with {len(beside)} images, the stimulus among them",
                expected="a model that is shown all of them",
                fix=f"leave max_images out of --model_args, or make it at least {len(beside)}",
            )

    def _own_images(self, doc: dict[str, Any]) -> list[PILImage]:
        if not self._asks_images:
            return []
        # Upstream's function picks from the document, which holds names of images.
        names = ConfigurableTask.doc_to_image(self, doc)
        asked = f"{self.config.task}, question {doc.get('id')}"
        opened = {n: SharedImage.of(self._embedded.image(n, asked)) for n in set(names)}
        return [opened[name] for name in names]

    def _asked_alike(self, arm: Arm) -> Hashable:
        return arm.text, arm.id in self.shown.images

    def _templates_of(self, arm: Arm) -> tuple[Any, Any]:
        description, question = super()._templates_of(arm)
        if self.options.image_order == "last" and arm.id in self.shown.images:
            if isinstance(question, str) and question in self.features:
                question = "{{" + question + "}}"
            question = visual_prompts.followed(question, visual_prompts.PLACEHOLDER)
        return description, question

    def _render(self, arm: Arm, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> Any:
        has_image = arm.id in self.shown.images
        first = has_image and self.options.image_order == "first"
        n_own = len(ConfigurableTask.doc_to_image(self, doc)) if self._asks_images else 0
        n_expected = n_own + has_image
        asked = f"{self.config.task} under {arm.id}"
        if kwargs.get("apply_chat_template") and kwargs.get("chat_template"):
            kwargs["chat_template"] = visual_prompts.ImageInChat(
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
