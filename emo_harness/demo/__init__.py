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
