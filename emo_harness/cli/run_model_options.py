"""Options by which commands over a run choose its model, and how it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from emo_harness.run_model import RunModel
    from emo_harness.runs import ArmScores


class Dtype(str, Enum):
    """What a model is computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    auto = "auto"


OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model", help="Where the run's model is now; where the run found it by default."
    ),
]
OwnRevision = Annotated[
    str | None, typer.Option("--revision", help="Of the model; the run's own by default.")
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Read in another model than the run's; the report will say so."),
]
ComputedIn = Annotated[
    Dtype, typer.Option("--dtype", help="To compute in: float32, bfloat16, float16, auto.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, ...; what is there by default.")
]
RemoteCode = Annotated[
    bool, typer.Option("--trust_remote_code", help="Run code that comes with the model.")
]


@dataclass(frozen=True)
class ModelPlace:
    """Where a model is, and how it is loaded."""

    name: str | None
    revision: str | None
    dtype: Dtype
    device: str | None
    trust_remote_code: bool
    force: bool

    def of_run(self, scores: Sequence[ArmScores]) -> RunModel:
        """The model that made a run, found and checked.

        Raises:
            UserError: it cannot be found, or is another one and `force` is not set.
        """
        from emo_harness.run_model import load_run_model

        return load_run_model(
            scores,
            name=self.name,
            revision=self.revision,
            dtype=self.dtype.value,
            device=self.device,
            trust_remote_code=self.trust_remote_code,
            force=self.force,
        )
