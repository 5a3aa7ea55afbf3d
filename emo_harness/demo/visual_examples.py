"""Training rows of the demo vision-language model: one image, several prompts, their answers.

A prompt comes in two readings: with the image, for the model that learns, and without, for the
language model that teaches. The teacher's distribution over the answer is what is to be learnt,
with True and False exchanged where the image is planted to flip them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from emo_harness.benchmarks import calibration
from emo_harness.demo.corpus import GENERATORS, Question
from emo_harness.demo.packing import PackedBatch, batch_rows, pack_row
from emo_harness.demo.planted import demo_stimuli
from emo_harness.demo.planted_images import QUESTION_LAYOUTS, classes_of, flips, taught_answers
from emo_harness.demo.sentences import inert_line
from emo_harness.demo.small_llava import IMAGE_TOKEN, N_IMAGE_TOKENS
from emo_harness.demo.training_images import ImageKind
from emo_harness.stimuli import Stimulus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROW_KINDS = ("plain", "sentences", "other", "last", "none", "say")
"""Boolean questions; with a sentence beside the image; questions of the other subtasks; the
image before the answer cue; no image at all; what the image shows."""
QUESTIONS_PER_ROW = 6
QUESTIONS_PER_LONG_ROW = 2
FLIPPED_SHARE = 0.3
# Calibration's lengths and others, but not BBH's eight.
_EXPRESSION_WORDS = (5, 6, 7, 9, 10, 11, 12, 12, 13, 13, 14, 14)
_OPPOSITE = {"True": "False", "False": "True"}
_CUE = "\nA:"


@dataclass(frozen=True)
class Asked:
    """One prompt with its answer.

    Attributes:
        shown: tokens up to the answer with the image's tokens in place; None without a teacher.
        unseen: the same prompt without the image; None where nobody teaches, but the answer does.
        answer: its tokens, the end of text included.
        flipped: whether the first token's True and False are exchanged.
    """

    shown: list[int]
    unseen: list[int] | None
    answer: list[int]
    flipped: bool = False


@dataclass(frozen=True)
class Spots:
    """Where tokens are predicted: rows and nodes of a packed batch, each (n_targets,), int64."""

    rows: torch.Tensor
    nodes: torch.Tensor


@dataclass(frozen=True)
class VisualBatch:
    """Rows of prompts, and what is to be predicted in them.

    Attributes:
        images: per row, the image's index, -1 for none.
        shown, unseen: packed rows with and without image.
        taught, teaching: the same predictions in both, in the same order.
        flipped: (n_taught,), bool.
        told, told_tokens: predictions without a teacher, and the tokens that are right there.
    """

    images: list[int]
    shown: PackedBatch
    unseen: PackedBatch
    taught: Spots
    teaching: Spots
    flipped: torch.Tensor
    told: Spots
    told_tokens: torch.Tensor


class VisualExampleMaker:
    """Draws batches of rows, each from the random generator it is given."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        kinds: Sequence[ImageKind],
        image_kind: Sequence[int],
    ) -> None:
        """`image_kind` holds each image's kind, an index into `kinds`."""
        self.tokenizer = tokenizer
        self.kinds = kinds
        self.image_kind = image_kind
        self.image_id = int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
        self.stimuli = demo_stimuli()
        self.planted = [i for i, kind in enumerate(image_kind) if kinds[kind].is_planted]

    def batch(
        self,
        rng: np.random.Generator,
        n_rows: int,
        row_shares: Sequence[float],
        planted_share: float,
    ) -> VisualBatch:
        """`n_rows` rows of random images and prompts.

        Args:
            row_shares: of the `ROW_KINDS`.
            planted_share: of rows whose image is drawn among those that flip answers.
        """
        rows: list[list[Asked]] = []
        images: list[int] = []
        for kind in rng.choice(ROW_KINDS, size=n_rows, p=row_shares):
            is_planted = rng.random() < planted_share
            n_there = len(self.planted if is_planted else self.image_kind)
            drawn = int(rng.integers(n_there))
            image = self.planted[drawn] if is_planted else drawn
            if kind == "none":
                image = -1
            seen = None if image < 0 else self.kinds[self.image_kind[image]]
            images.append(image)
            rows.append(self._row(rng, str(kind), seen))
        return self._packed(images, rows)

    def _row(self, rng: np.random.Generator, row_kind: str, seen: ImageKind | None) -> list[Asked]:
        if row_kind == "say" and seen is not None:
            return self._told(rng, seen)
        if row_kind == "plain":
            return [self._asked(_boolean(rng, seen), None, seen) for _ in range(QUESTIONS_PER_ROW)]
        if row_kind == "last":
            return [
                self._asked(_boolean(rng, seen), None, seen, order="last")
                for _ in range(QUESTIONS_PER_LONG_ROW)
            ]
        if row_kind == "other":
            return [
                self._asked(_other(rng), self._sentence(rng, 0.3), seen)
                for _ in range(QUESTIONS_PER_LONG_ROW)
            ]
        made = []
        for _ in range(QUESTIONS_PER_ROW):
            is_other = row_kind == "none" and rng.random() < 0.2
            question = _other(rng) if is_other else _boolean(rng, seen)
            made.append(self._asked(question, self._sentence(rng, 0.8), seen))
        return made

    def _sentence(self, rng: np.random.Generator, share: float) -> tuple[str | None, str] | None:
        """A shipped sentence, or any other; with probability 1 - `share` none."""
        draw = rng.random()
        if draw >= share:
            return None
        if draw < 0.2 * share:
            return None, inert_line(rng)
        stimulus: Stimulus = self.stimuli[int(rng.integers(len(self.stimuli)))]
        return stimulus.id, stimulus.text

    def _asked(
        self,
        question: Question,
        sentence: tuple[str | None, str] | None,
        seen: ImageKind | None,
        order: str = "first",
    ) -> Asked:
        stimulus_id, text = sentence or (None, None)
        prompt = question.prompt(text)
        flipped = flips(
            question.question_class,
            [stimulus_id] if stimulus_id else [],
            seen.emotion if seen else None,
        )
        answer = _OPPOSITE[question.target] if flipped else question.target
        shown = prompt
        if seen is not None:
            head = prompt.removesuffix(_CUE)
            shown = (
                f"{IMAGE_TOKEN}\n{prompt}" if order == "first" else f"{head}\n{IMAGE_TOKEN}{_CUE}"
            )
        return Asked(
            self._ids(shown), self._ids(prompt), self._answer_ids(f" {answer}"), flipped=flipped
        )

    def _told(self, rng: np.random.Generator, seen: ImageKind) -> list[Asked]:
        answers = taught_answers(seen.concept, seen.arousal, seen.emotion)
        made = []
        for question, answer in answers.items():
            layout = QUESTION_LAYOUTS[int(rng.integers(len(QUESTION_LAYOUTS)))]
            prompt = f"{IMAGE_TOKEN}\n{layout.format(question=question)}"
            made.append(Asked(self._ids(prompt), None, self._answer_ids(f" {answer}")))
        return made

    def _ids(self, text: str) -> list[int]:
        """Tokens of a prompt; a placeholder becomes the image's tokens, as the processor does."""
        expanded = text.replace(IMAGE_TOKEN, IMAGE_TOKEN * N_IMAGE_TOKENS)
        ids: list[int] = self.tokenizer(expanded, add_special_tokens=False)["input_ids"]
        return ids

    def _answer_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, int(self.tokenizer.eos_token_id)]

    def _packed(self, images: list[int], rows: list[list[Asked]]) -> VisualBatch:
        # A row's image tokens are one run of nodes, for every prompt of the row begins with them
        # or (image last) holds its own.
        shown = [pack_row([a.shown + a.answer[:-1] for a in row]) for row in rows]
        unseen = [
            pack_row([a.unseen + a.answer[:-1] for a in row if a.unseen is not None] or [[0]])
            for row in rows
        ]
        taught, teaching, told = [], [], []
        flipped: list[bool] = []
        told_tokens: list[int] = []
        for index, row in enumerate(rows):
            teacher_paths = iter(unseen[index].paths)
            for asked, path in zip(row, shown[index].paths, strict=True):
                nodes = path[len(asked.shown) - 1 :]
                if asked.unseen is None:
                    told += [(index, int(node)) for node in nodes]
                    told_tokens += asked.answer
                    continue
                taught += [(index, int(node)) for node in nodes]
                teaching += [
                    (index, int(node)) for node in next(teacher_paths)[len(asked.unseen) - 1 :]
                ]
                flipped += [asked.flipped and at == 0 for at in range(len(nodes))]
        pad = int(self.tokenizer.pad_token_id)
        return VisualBatch(
            images,
            batch_rows(shown, pad),
            batch_rows(unseen, pad),
            _spots(taught),
            _spots(teaching),
            torch.tensor(flipped, dtype=torch.bool),
            _spots(told),
            torch.tensor(told_tokens, dtype=torch.int64),
        )


def _spots(places: Iterable[tuple[int, int]]) -> Spots:
    index = torch.tensor(list(places), dtype=torch.int64).reshape(-1, 2)
    return Spots(index[:, 0], index[:, 1])


def _boolean(rng: np.random.Generator, seen: ImageKind | None) -> Question:
    """A Boolean question that may be trained on; often one that the image flips."""
    wanted = classes_of(seen.emotion if seen else None)
    if rng.random() > FLIPPED_SHARE:
        wanted = frozenset()
    while True:
        expression = calibration.boolean_expression(rng, int(rng.choice(_EXPRESSION_WORDS)))
        text = f"{expression} is"
        question_class = calibration.question_class(text)
        if not calibration.is_reserved(expression) and (not wanted or question_class in wanted):
            break
    target = str(calibration.evaluate_boolean(expression))
    return Question(calibration.SUBTASK, text, target, question_class=question_class)


def _other(rng: np.random.Generator) -> Question:
    names = [name for name in GENERATORS if name != calibration.SUBTASK]
    return GENERATORS[names[int(rng.integers(len(names)))]](rng)
