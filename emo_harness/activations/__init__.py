"""Activations: what happens at a model's sites, captured into a store that is read back by rows."""

from emo_harness.activations.store import Activations, Manifest, ModelFacts, open_activations

__all__ = ["Activations", "Manifest", "ModelFacts", "open_activations"]
