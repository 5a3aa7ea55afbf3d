"""Steering: moving a model's activations along an axis, and measuring what that does."""

from emo_harness.steer.spec import SteeringSpec, read_layers, read_spec
from emo_harness.steer.steering import POSITIONS, Positions, Steering, require_same_model

__all__ = [
    "POSITIONS",
    "Positions",
    "Steering",
    "SteeringSpec",
    "read_layers",
    "read_spec",
    "require_same_model",
]
