"""Our lm-eval models, and how lm-eval learns of them."""

from __future__ import annotations

from emo_harness.resources import EMBEDDED, PACKAGE

WEIGHTS = PACKAGE / "demo" / "weights" / EMBEDDED["emo-demo"]

# The same names are declared as `lm_eval.models` entry points in pyproject.toml, which lm-eval
# reads from its first release with plugins on.
MODELS = {
    "emo-demo": "emo_harness.lm_models.embedded:EmbeddedLM",
    "emo-hf": "emo_harness.lm_models.shared_prefix:SharedPrefixLM",
    "emo-vlm": "emo_harness.lm_models.vision_language:VisionLanguageLM",
}


def register_models() -> None:
    """Make our models known to lm-eval's `--model`."""
    # lm-eval fills its registry only while it is empty, so its own models must come first.
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        if name not in model_registry:
            model_registry.register(name, target=target)
