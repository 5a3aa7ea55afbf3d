"""Activations: a model's sites, captured into a store that is read back by rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_harness.activations.store import Activations, Manifest, ModelFacts, open_activations
from emo_harness.lazy_names import lazy_names

if TYPE_CHECKING:
    from emo_harness.activations.capture import Vectors, Work, vectors
    from emo_harness.activations.hooks import HookCountError
    from emo_harness.activations.loading import LoadedModel, load_language_model
    from emo_harness.activations.processes import Processes
    from emo_harness.activations.readings import POSITIONS
    from emo_harness.activations.sites import SITES, Layout, layout_of

# Where names are that need torch, which reading a store does not. `capture` itself is not among
# them: it has the name of its module.
_WITH_TORCH = {
    "vectors": "capture",
    "Vectors": "capture",
    "Work": "capture",
    "HookCountError": "hooks",
    "LoadedModel": "loading",
    "load_language_model": "loading",
    "Processes": "processes",
    "POSITIONS": "readings",
    "SITES": "sites",
    "Layout": "sites",
    "layout_of": "sites",
}

__all__ = [
    "POSITIONS",
    "SITES",
    "Activations",
    "HookCountError",
    "Layout",
    "LoadedModel",
    "Manifest",
    "ModelFacts",
    "Processes",
    "Vectors",
    "Work",
    "layout_of",
    "load_language_model",
    "open_activations",
    "vectors",
]


__getattr__ = lazy_names(__name__, _WITH_TORCH)
