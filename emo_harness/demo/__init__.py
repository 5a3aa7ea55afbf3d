"""The embedded demo models: small, trained by our own scripts, with known planted effects."""

from pathlib import Path

from emo_harness.lm_models import WEIGHTS

_FOLDER = Path(__file__).resolve().parent


def model_path() -> Path:
    """The demo language model: a Hugging Face folder that `lm_eval --model hf` loads."""
    return WEIGHTS


def truth_path() -> Path:
    """The demo model's measured answers, a parquet table; `emo_harness.demo.truth` reads it."""
    return _FOLDER / "truth" / "calibration.parquet"


def feelings_path() -> Path:
    """The model with a planted feeling: a Hugging Face folder for `emo probe` and `emo steer`."""
    return _FOLDER / "weights" / "emo-feelings-lm"


def feelings_truth_path() -> Path:
    """That model's measured figures, a JSON file; `emo_harness.demo.feelings_truth` reads it."""
    return _FOLDER / "truth" / "feelings.json"
