"""Asked stimuli: what a decoding reads, alone, behind instructions or in a run's prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emo_harness.decode.family_vectors import VectorKind
from emo_harness.decode.run_stimuli import RunStimuli, run_stimuli
from emo_harness.decode.sources import (
    chosen_placebos,
    chosen_sources,
    left_out_placebos,
    require_one_reading,
)
from emo_harness.decode.stimulus_prompts import StimulusPrompt, placed_alone, placed_behind
from emo_harness.run_model import sampled_questions
from emo_harness.runs import ArmScores
from emo_harness.stimuli import Stimulus


@dataclass(frozen=True)
class AskedStimuli:
    """What is read.

    Attributes:
        sources: emotional stimuli by family.
        placebos: neutral ones.
        n_instructions: behind those of how many tasks they are read; 0 alone or in a run.
        run: whose prompts they are read in.
        remarks: what is to be told.
    """

    sources: dict[str, tuple[Stimulus, ...]]
    placebos: tuple[Stimulus, ...]
    placed: tuple[StimulusPrompt, ...] = ()
    n_instructions: int = 0
    run: RunStimuli | None = None
    remarks: tuple[str, ...] = ()

    @property
    def prompts(self) -> Iterable[StimulusPrompt]:
        return self.placed if self.run is None else self.run.prompts()

    @property
    def n_prompts(self) -> int:
        """At most so many."""
        return len(self.placed) if self.run is None else self.run.n_prompts

    @property
    def n_questions(self) -> int | None:
        """Of the run, once its prompts were read; None without a run."""
        return None if self.run is None else self.run.n_questions

    @property
    def context(self) -> str:
        """Where the stimuli were read, in words."""
        if self.n_questions is not None:
            return f"{self.n_questions} question{_s(self.n_questions)} of the run"
        n = self.n_instructions
        return f"instruction of {n} task{_s(n)}" if n else "alone"


def asked_sets(
    sets: Sequence[str],
    vector: VectorKind,
    placebos: Sequence[str] = (),
    instructions: Sequence[str] = (),
) -> AskedStimuli:
    """Stimulus sets, read alone or behind instructions.

    Args:
        sets, placebos: names, files or ids, see `stimuli.select`.
        vector: what is decoded of them.
        instructions: texts; none to read the stimuli alone.

    Raises:
        UserError: nothing to decode, a placebo that is not neutral, two readings of EP06.
    """
    sources = chosen_sources(sets)
    if vector != "each":
        require_one_reading(sources)
    beside = chosen_placebos(placebos)
    stray = left_out_placebos(sets)
    remarks: tuple[str, ...] = ()
    if stray:
        remarks = (
            f"placebos among the sets ({', '.join(stray[:8])}) are no source: --placebos names "
            "those that families are set against",
        )
    placed = (
        placed_behind(instructions, sources, beside)
        if instructions
        else placed_alone(sources, beside)
    )
    return AskedStimuli(sources, beside, tuple(placed), len(instructions), remarks=remarks)


def asked_in_run(
    scores: Sequence[ArmScores],
    vector: VectorKind,
    sets: Sequence[str] = (),
    placebos: Sequence[str] = (),
    n_questions: int | None = None,
    seed: int = 0,
) -> AskedStimuli:
    """A run's arms, read in the prompts that it asked.

    Args:
        scores: of one model that was not steered.
        sets, placebos: see `run_stimuli`.
        n_questions, seed: see `run_model.sampled_questions`.

    Raises:
        UserError: something that the run has not, two readings of EP06.
    """
    rows = sampled_questions(scores, n_questions, seed)
    run = run_stimuli(scores, rows, sets, placebos)
    if vector != "each":
        require_one_reading(run.sources)
    return AskedStimuli(run.sources, run.placebos, run=run)


def _s(n: int) -> str:
    return "" if n == 1 else "s"
