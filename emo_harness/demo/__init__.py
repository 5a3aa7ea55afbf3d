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


def vlm_path() -> Path:
    """The vision-language model: a Hugging Face folder for `emo-vlm` and `hf-multimodal`."""
    return _FOLDER / "weights" / "emo-demo-vlm"


def visual_truth_path() -> Path:
    """Its measured answers, a parquet table; `emo_harness.demo.visual_truth` reads it."""
    return _FOLDER / "truth" / "visual.parquet"


def clip_path() -> Path:
    """The image-text encoder: a folder for open_clip, "local-dir:FOLDER"."""
    return _FOLDER / "weights" / "emo-demo-clip"


def clip_truth_path() -> Path:
    """Its measured figures, a JSON file; `emo_harness.demo.clip_truth` reads it."""
    return _FOLDER / "truth" / "clip.json"


def diffusion_path() -> Path:
    """The text-to-image pipeline: a folder for diffusers' `AutoPipelineForText2Image`."""
    return _FOLDER / "weights" / "emo-demo-diffusion"


def diffusion_truth_path() -> Path:
    """Its measured figures, a JSON file; `emo_harness.demo.diffusion_truth` reads it."""
    return _FOLDER / "truth" / "diffusion.json"
