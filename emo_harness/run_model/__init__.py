"""The model that made a run, found and checked again, so that its prompts can be read inside it."""

from emo_harness.run_model.load import RunModel, load_run_model
from emo_harness.run_model.own_model import (
    OwnModel,
    is_steered,
    own_model,
    read_model_runs,
    unsteered,
)
from emo_harness.run_model.posthoc import POSTHOC, posthoc_folder, write_posthoc
from emo_harness.run_model.sampling import sampled_questions

__all__ = [
    "POSTHOC",
    "OwnModel",
    "RunModel",
    "is_steered",
    "load_run_model",
    "own_model",
    "posthoc_folder",
    "read_model_runs",
    "sampled_questions",
    "unsteered",
    "write_posthoc",
]
