"""What `emo decode` reads, and in which model: stimulus sets, or a run's arms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel
    from emo_harness.cli.run_model_options import ModelPlace
    from emo_harness.decode.asked import AskedStimuli
    from emo_harness.decode.meta_prompt import DecodeSettings


@dataclass(frozen=True)
class ReadIn:
    """The model; `name` to show, `forced` how it differs from the run's."""

    loaded: LoadedModel
    name: str
    forced: str | None = None


def of_sets(
    sets: list[str],
    placebos: list[str],
    context: list[str],
    settings: DecodeSettings,
    place: ModelPlace,
) -> tuple[AskedStimuli, ReadIn]:
    """Stimulus sets, alone or behind the instructions of tasks."""
    from emo_harness.activations.loading import load_language_model
    from emo_harness.cli.decode_context import instructions
    from emo_harness.decode.asked import asked_sets

    name = str(place.name)
    asked = asked_sets(sets, settings.vector, placebos, instructions(context))
    loaded = load_language_model(
        name,
        revision=place.revision,
        dtype=place.dtype.value,
        device=place.device,
        trust_remote_code=place.trust_remote_code,
    )
    return asked, ReadIn(loaded, Path(name).resolve().name if Path(name).exists() else name)


def in_run(
    run: Path,
    sets: list[str],
    placebos: list[str],
    questions: int | None,
    settings: DecodeSettings,
    place: ModelPlace,
) -> tuple[AskedStimuli, ReadIn]:
    """A run's arms in its own prompts, and the model that was asked."""
    from emo_harness.decode.asked import asked_in_run
    from emo_harness.run_model import read_model_runs, unsteered

    every = read_model_runs(run)
    scores = unsteered(every)
    asked = asked_in_run(scores, settings.vector, sets, placebos, questions, settings.seed)
    found = place.of_run(scores)
    if len(scores) < len(every):
        steered = len({one.task for one in every} - {one.task for one in scores}) or 1
        told = f"left out: {steered} tasks asked of a steered model, which is not the one read"
        asked = replace(asked, remarks=(*asked.remarks, told))
    return asked, ReadIn(found.loaded, found.name, found.forced)
