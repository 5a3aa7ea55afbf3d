"""Asking a multimodal model to rate images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_harness.rating.answers import rating_in
from emo_harness.rating.questions import QUESTIONS, RATINGS, RatingQuestion

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Floats = NDArray[np.float64]
# Of one portion, by the names of `Rated`'s fields.
Numbers = dict[str, Any]
Method = Literal["likelihood", "answer"]
IMAGE = "<image>"
ANSWER_TOKENS = 16
PORTION = 16
PORTION_PIXELS = 100_000_000
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Rated:
    """Ratings of n images on one scale.

    Attributes:
        question: what was asked.
        expected: (n,) mean of the ratings 1 to 9 by their probabilities; of answers the rating
            itself. NaN where an answer names none.
        most_probable: (n,) the rating of highest probability.
        spread: (n,) standard deviation of the ratings by their probabilities; NaN of answers.
        mass: (n,) probability that the model gives to the nine ratings together: where it is
            small, the model would have answered something else. NaN of answers.
        answers: (n,) what was answered; empty where likelihoods were asked for.
    """

    question: RatingQuestion
    expected: Floats
    most_probable: Floats
    spread: Floats
    mass: Floats
    answers: tuple[str, ...] = ()


def rate_images(
    lm: Any,
    images: Iterable[PILImage],
    *,
    method: Method = "likelihood",
    in_chat: bool = False,
    questions: Sequence[RatingQuestion] = QUESTIONS,
    total: int | None = None,
) -> list[Rated]:
    """Ratings of every image, one `Rated` per question.

    With `likelihood` the model gives the log-probability of each of the nine ratings as an answer,
    so that its rating is a mean and needs no parsing; `answer` takes the one number from 1 to 9
    that it names.

    Args:
        lm: an lm-eval model that takes images; for `likelihood` one that scores answers to
            images (`emo-vlm`).
        images: RGB.
        in_chat: put the question into the model's chat template.
        total: how many images, for the progress bar.
    """
    from tqdm import tqdm

    ask = _by_likelihood if method == "likelihood" else _by_answer
    prompts = [_prompt(lm, question, in_chat) for question in questions]
    numbers: list[list[Numbers]] = [[] for _ in questions]
    with tqdm(total=total, desc="rating images", unit="image", disable=None) as bar:
        for shown in _portions(images):
            requests = [(prompt, image) for prompt in prompts for image in shown]
            found = ask(lm, requests, in_chat)
            n = len(shown)
            for i, own in enumerate(numbers):
                own.append({name: values[i * n : (i + 1) * n] for name, values in found.items()})
            bar.update(n)
    return [_rated(question, own) for question, own in zip(questions, numbers, strict=True)]


def expected_rating(log_probabilities: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, mode, standard deviation and total probability of ratings.

    Args:
        log_probabilities: (n, 9) of the answers 1 to 9, in nats.

    Example:
        >>> told = np.full((1, 9), -50.0)
        >>> told[0, [1, 3]] = np.log(0.25)
        >>> [round(float(x[0]), 2) for x in expected_rating(told)]
        [3.0, 2.0, 1.0, 0.5]
    """
    ratings = np.array(RATINGS, dtype=np.float64)
    peak = log_probabilities.max(axis=1, keepdims=True)
    weights = np.exp(log_probabilities - peak)
    share = weights / weights.sum(axis=1, keepdims=True)
    mean = share @ ratings
    spread = np.sqrt(np.maximum(share @ ratings**2 - mean**2, 0.0))
    mass = np.exp(log_probabilities).sum(axis=1)
    return mean, ratings[log_probabilities.argmax(axis=1)], spread, mass


def _prompt(lm: Any, question: RatingQuestion, in_chat: bool) -> str:
    text = f"{IMAGE}\n{question.prompt(in_chat=in_chat)}"
    return lm.apply_chat_template([{"role": "user", "content": text}]) if in_chat else text


def _by_likelihood(lm: Any, requests: Sequence[tuple[str, PILImage]], in_chat: bool) -> Numbers:
    between = "" if in_chat else " "
    instances = [
        _instance("loglikelihood", prompt, f"{between}{rating}", image, number)
        for number, (prompt, image) in enumerate(requests)
        for rating in RATINGS
    ]
    answered = lm.loglikelihood(instances, disable_tqdm=True)
    told = np.array([log_probability for log_probability, _ in answered], dtype=np.float64)
    mean, mode, spread, mass = expected_rating(told.reshape(-1, len(RATINGS)))
    return {"expected": mean, "most_probable": mode, "spread": spread, "mass": mass, "answers": []}


def _by_answer(lm: Any, requests: Sequence[tuple[str, PILImage]], in_chat: bool) -> Numbers:
    settings = {"until": ["\n"], "max_gen_toks": ANSWER_TOKENS, "do_sample": False}
    instances = [
        _instance("generate_until", prompt, dict(settings), image, number)
        for number, (prompt, image) in enumerate(requests)
    ]
    answers = [str(answer) for answer in lm.generate_until(instances, disable_tqdm=True)]
    ratings = np.array([rating_in(answer) for answer in answers])
    unknown = np.full(len(answers), NAN)
    return {
        "expected": ratings,
        "most_probable": ratings,
        "spread": unknown,
        "mass": unknown,
        "answers": answers,
    }


def _instance(kind: Any, prompt: str, wanted: Any, image: PILImage, number: int) -> Any:
    from lm_eval.api.instance import Instance

    return Instance(
        request_type=kind,
        doc={},
        arguments=(prompt, wanted, {"visual": [image]}),
        idx=0,
        metadata=("emo_images_rate", number, 1),
    )


def _portions(images: Iterable[PILImage]) -> Iterator[list[PILImage]]:
    """So many images at a time that their pixels are no matter."""
    taken: list[PILImage] = []
    for image in images:
        taken.append(image)
        if len(taken) == PORTION or sum(p.width * p.height for p in taken) > PORTION_PIXELS:
            yield taken
            taken = []
    if taken:
        yield taken


def _rated(question: RatingQuestion, portions: Sequence[Numbers]) -> Rated:
    def whole(name: str) -> Floats:
        return np.concatenate([portion[name] for portion in portions] or [np.empty(0)])

    return Rated(
        question,
        whole("expected"),
        whole("most_probable"),
        whole("spread"),
        whole("mass"),
        tuple(answer for portion in portions for answer in portion["answers"]),
    )
