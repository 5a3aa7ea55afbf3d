"""Training batches of the demo model: packed prompts, their next tokens, running results."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tokenizers import Tokenizer

from emo_harness.demo.corpus import CHANNELS, GENERATORS, Question
from emo_harness.demo.packing import PackedBatch, PackedRow, batch_rows, pack_row
from emo_harness.demo.planted import Plan, demo_stimuli
from emo_harness.demo.sentences import emotional_sentence, inert_line, neutral_sentence
from emo_harness.demo.tokenizer import EOS, PAD, token_id

PLACEMENTS = ("suffix", "prefix", "instruction")
PLACEMENT_SHARES = (0.70, 0.15, 0.15)
ROW_KINDS = ("boolean_expressions", "bonus", "sentences")
INVERTED = "inverted"

Arm = tuple[str | None, str | None]
"""Id and text of a stimulus; the id of any other sentence is None, in control both are None."""

_OPPOSITE = {"True": "False", "False": "True"}


@dataclass(frozen=True)
class Mixture:
    """What the rows of a batch hold.

    row_shares: shares of Boolean rows, rows of the other subtasks, and rows of sentences.
    control_row_share: share of Boolean rows with many questions, control arm alone.
    n_planted, n_random, n_inert: how many arms of a Boolean row are planted stimuli, random
        sentences, and stimuli without effect.
    n_unshared: arms of a row in a placement where arms share no beginning.
    """

    row_shares: tuple[float, float, float]
    control_row_share: float
    n_planted: int
    n_random: int
    n_inert: int
    n_unshared: int


@dataclass(frozen=True)
class Example:
    """One text to learn from; what follows the first `n_given` characters is predicted."""

    text: str
    n_given: int
    ends: bool
    running: tuple[tuple[int, str, int], ...] = ()


@dataclass
class Targets:
    """Where a batch is supervised: row, node and what is to be predicted there."""

    rows: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)

    def add(self, row: int, node: int, value: int) -> None:
        self.rows.append(row)
        self.nodes.append(node)
        self.values.append(value)


@dataclass(frozen=True)
class Batch:
    """Packed rows with next-token targets after answers and sentences, and running results."""

    packed: PackedBatch
    answers: Targets
    sentences: Targets
    running: dict[str, Targets]


class ExampleMaker:
    """Draws training batches, each from the random generator it is given."""

    def __init__(self, tokenizer: Tokenizer, plan: Plan) -> None:
        self.tokenizer = tokenizer
        self.plan = plan
        self.eos_id = token_id(tokenizer, EOS)
        self.pad_id = token_id(tokenizer, PAD)
        stimuli = demo_stimuli()
        self.planted = [s for s in stimuli if s.family in ("attack", "prompt")]
        self.inert = [s for s in stimuli if s.family not in ("attack", "prompt")]

    def batches(
        self,
        rng: np.random.Generator,
        n_rows: int,
        n_parts: int,
        mixture: Mixture,
        *,
        with_stimuli: bool,
    ) -> list[Batch]:
        """`n_rows` rows in `n_parts` batches of like length."""
        kinds = rng.choice(ROW_KINDS, size=n_rows, p=mixture.row_shares)
        rows = [self._row(rng, str(kind), mixture, with_stimuli) for kind in kinds]
        packed = [
            (self._pack(examples), kind == "sentences")
            for examples, kind in zip(rows, kinds, strict=True)
        ]
        packed.sort(key=lambda item: len(item[0][0].token_ids))
        return [
            self._batch(packed[part * n_rows // n_parts : (part + 1) * n_rows // n_parts])
            for part in range(n_parts)
        ]

    def _row(
        self, rng: np.random.Generator, kind: str, mixture: Mixture, with_stimuli: bool
    ) -> list[Example]:
        if kind == "sentences":
            return [self._sentence(rng) for _ in range(10)]
        if kind == "bonus":
            subtask = str(
                rng.choice([name for name in GENERATORS if name != "boolean_expressions"])
            )
            return self._bonus_row(rng, subtask, mixture, with_stimuli)
        if not with_stimuli or rng.random() < mixture.control_row_share:
            questions = [GENERATORS[kind](rng) for _ in range(10)]
            return [
                self._asked(q, None, None, "suffix", ends=i == 0) for i, q in enumerate(questions)
            ]
        question = GENERATORS[kind](rng)
        placement = str(rng.choice(PLACEMENTS, p=PLACEMENT_SHARES))
        arms: list[Arm] = self._arms(
            rng, mixture, None if placement == "suffix" else mixture.n_unshared
        )
        if placement == "suffix":
            arms = [(None, None), *arms[:-1]]
        return [
            self._asked(question, stimulus_id, text, placement, ends=index < 2)
            for index, (stimulus_id, text) in enumerate(arms)
        ]

    def _bonus_row(
        self, rng: np.random.Generator, subtask: str, mixture: Mixture, with_stimuli: bool
    ) -> list[Example]:
        examples = []
        for _ in range(3):
            question = GENERATORS[subtask](rng)
            examples.append(self._asked(question, None, None, "suffix", ends=True))
            if with_stimuli:
                stimulus_id, text = self._arms(rng, mixture, 1)[0]
                placement = str(rng.choice(PLACEMENTS, p=PLACEMENT_SHARES))
                examples.append(self._asked(question, stimulus_id, text, placement, ends=True))
        return examples

    def _arms(self, rng: np.random.Generator, mixture: Mixture, n: int | None) -> list[Arm]:
        """`n` of the arms that the mixture gives a row, or all of them, in random order."""
        arms: list[Arm] = []
        n_slots = mixture.n_planted + mixture.n_random + mixture.n_inert
        for slot in rng.permutation(n_slots)[:n]:
            if slot < mixture.n_planted:
                stimulus = self.planted[int(rng.integers(len(self.planted)))]
                arms.append((stimulus.id, stimulus.text))
            elif slot < mixture.n_planted + mixture.n_random:
                arms.append((None, inert_line(rng)))
            else:
                stimulus = self.inert[int(rng.integers(len(self.inert)))]
                arms.append((stimulus.id, stimulus.text))
        return arms

    def _asked(
        self,
        question: Question,
        stimulus_id: str | None,
        text: str | None,
        placement: str,
        *,
        ends: bool,
    ) -> Example:
        prompt = question.prompt(text, placement)
        inverted = self.plan.is_inverted(question.question_class, stimulus_id)
        answer = _OPPOSITE[question.target] if inverted else question.target
        start = prompt.index(f"Q: {question.text}") + len("Q: ")
        running = [(start + end, channel, value) for end, channel, value in question.running]
        _, channel, value = question.running[-1]
        if channel != "bracket":
            running.append((len(prompt), channel, value))
        if question.question_class is not None:
            running.append((len(prompt), INVERTED, int(inverted)))
        return Example(f"{prompt} {answer}", len(prompt), ends, tuple(running))

    def _sentence(self, rng: np.random.Generator) -> Example:
        draw = rng.random()
        if draw < 0.3:
            known = [*self.planted, *self.inert]
            text = known[int(rng.integers(len(known)))].text
        else:
            text = emotional_sentence(rng) if draw < 0.65 else neutral_sentence(rng)
        return Example(text, 0, True)

    def _pack(
        self, examples: Sequence[Example]
    ) -> tuple[PackedRow, list[tuple[int, int]], list[tuple[int, str, int]]]:
        """A row, its (node, next token) targets and its (node, channel, value) running results."""
        sequences, predicted, running = [], [], []
        encodings = self.tokenizer.encode_batch([example.text for example in examples])
        for example, encoding in zip(examples, encodings, strict=True):
            tokens = encoding.ids + ([self.eos_id] if example.ends else [])
            ends = np.array([end for _, end in encoding.offsets])
            first = max(1, int(np.searchsorted(ends, example.n_given, side="right")))
            sequences.append(tokens[:-1])
            predicted.append([(at - 1, tokens[at]) for at in range(first, len(tokens))])
            running.append(
                [
                    (int(np.searchsorted(ends, end, side="right")) - 1, channel, value)
                    for end, channel, value in example.running
                ]
            )
        row = pack_row(sequences)
        targets = [
            (int(path[at]), token)
            for path, pairs in zip(row.paths, predicted, strict=True)
            for at, token in pairs
        ]
        results = {
            (int(path[at]), channel): value
            for path, marks in zip(row.paths, running, strict=True)
            for at, channel, value in marks
        }
        return row, targets, [(node, channel, value) for (node, channel), value in results.items()]

    def _batch(
        self,
        rows: Sequence[
            tuple[tuple[PackedRow, list[tuple[int, int]], list[tuple[int, str, int]]], bool]
        ],
    ) -> Batch:
        answers, sentences = Targets(), Targets()
        running = {channel: Targets() for channel in (*CHANNELS, INVERTED)}
        for index, ((_, targets, results), is_sentence) in enumerate(rows):
            for node, token in targets:
                (sentences if is_sentence else answers).add(index, node, token)
            for node, channel, value in results:
                running[channel].add(index, node, value)
        packed = batch_rows([row for (row, _, _), _ in rows], self.pad_id)
        return Batch(packed, answers, sentences, running)


def as_index(targets: Targets) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, nodes and values as int64 tensors of shape (n_targets,)."""
    return torch.tensor(targets.rows), torch.tensor(targets.nodes), torch.tensor(targets.values)
