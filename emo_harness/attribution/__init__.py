"""Attribution: which words of a prompt, or patches of an image, move the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_harness.lazy_names import lazy_names

if TYPE_CHECKING:
    from emo_harness.attribution.baseline import Baseline, mean_embedding, mean_of
    from emo_harness.attribution.gradients import TokenAttribution, attribute_tokens
    from emo_harness.attribution.methods import METHODS
    from emo_harness.attribution.patches import (
        PatchContributions,
        patch_contributions,
        patch_contributions_of,
    )
    from emo_harness.attribution.randomised import with_random_weights
    from emo_harness.attribution.target import Target, encode_targets

# All need torch, which reading a name alone must not import.
_MODULE_OF = {
    "Baseline": "baseline",
    "METHODS": "methods",
    "PatchContributions": "patches",
    "Target": "target",
    "TokenAttribution": "gradients",
    "attribute_tokens": "gradients",
    "encode_targets": "target",
    "mean_embedding": "baseline",
    "mean_of": "baseline",
    "patch_contributions": "patches",
    "patch_contributions_of": "patches",
    "with_random_weights": "randomised",
}

__all__ = [
    "METHODS",
    "Baseline",
    "PatchContributions",
    "Target",
    "TokenAttribution",
    "attribute_tokens",
    "encode_targets",
    "mean_embedding",
    "mean_of",
    "patch_contributions",
    "patch_contributions_of",
    "with_random_weights",
]

__getattr__ = lazy_names(__name__, _MODULE_OF)
