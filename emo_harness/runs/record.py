"""Records: what a task of ours wrote of itself into lm-eval's results, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from emo_harness.errors import UserError, quoted
from emo_harness.stimuli import Decoding, StimulusImage, lineage
from emo_harness.validation import validated

METADATA_KEY = "emo"
RECORD_SCHEMA = 1
CONTROL = "control"


@dataclass(frozen=True)
class RunArm:
    """One arm as the run recorded it.

    Attributes:
        id: arm id; "control" is the untouched prompt.
        kind: `control`, `placebo` or `stimulus`.
        family: the stimulus's family, "control" for control; of decoded stimuli "decoded-" and
            the family that they were decoded from, which is what may be averaged over.
        placebo: kind of placebo, None for the others.
        text: the stimulus, "" for control.
        theory, emotion, arousal_rank, demand: the stimulus's tags, None where unknown.
        decoded: how a decoded stimulus, or its control, was made; None for the others.
        image: the image that was shown; None for the others.
    """

    id: str
    kind: str
    family: str
    placebo: str | None
    text: str
    theory: str | None = None
    emotion: str | None = None
    arousal_rank: int | None = None
    demand: bool | None = None
    decoded: Decoding | None = None
    image: StimulusImage | None = None

    @property
    def told(self) -> str:
        """What was put into the prompt, in words: the sentence, and what an image shows."""
        if self.image is None:
            return self.text
        own, derived = self.image.control_of, self.image.derived
        if derived == "grey":
            shown = "[grey image]"
        elif derived is not None:
            shown = f"[{derived} copy of {own}]"
        else:
            shown = f"[neutral twin of {own}]" if own else f"[image of {self.image.concept}]"
        return f"{shown} {self.text}" if self.text else shown

    @property
    def content(self) -> tuple[str, str]:
        """What tells two stimuli apart whatever they are called: the text, and the pixels."""
        return (self.text, self.image.sha256 if self.image else "")


class Logged(BaseModel):
    """Base of what is read of lm-eval's results: exact types, other keys are lm-eval's own."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, loc_by_alias=False)

    @model_validator(mode="before")
    @classmethod
    def _is_an_object(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            raise ValueError("a JSON object")
        return raw


def _writable(value: object) -> object:
    """Half of a surrogate pair, as an odd byte in a path leaves it, is shown as unknown."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_writable)]


class RecordedArm(Logged):
    """An arm as the file has it; see `RunArm`."""

    id: Text
    kind: Literal["control", "placebo", "stimulus"]
    family: Text | None = None
    placebo: Text | None = None
    text: Text = ""
    theory: Text | None = None
    emotion: Text | None = None
    arousal_rank: int | None = None
    demand: bool | None = None
    decoded: Decoding | None = None
    image: StimulusImage | None = None


class RecordedSource(Logged):
    """Where the questions came from; see `QuestionSource`."""

    kind: Text
    place: Text
    sha256: Text | None = None


class Record(Logged):
    """What a task recorded: what it asked, under which arms, and how it is scored.

    Attributes:
        arms: as the file has them; control first, each id once.
        upstream: file of the wrapped task below lm-eval's tasks, None where there is none.
        n_dropped: questions without an answer among their options.
        emo_harness: version that made the run.
        image_set, image_order, control_image: of visual tasks, see `lm_tasks.options`; None for
            tasks that show no images.
        model: what stood behind the model's arguments; see `model_identity.loaded_identities`.
    """

    benchmark: Text
    subtask: Text | None
    mode: Text
    family: Text
    metric: Text
    filter: Text
    placement: Text
    stimuli_sha256: Text
    source: RecordedSource
    arms: list[RecordedArm]
    upstream: Text | None = None
    n_dropped: int = Field(default=0, ge=0)
    emo_harness: Text | None = None
    command: Text | None = None
    image_set: Text | None = None
    image_order: Text | None = None
    control_image: Text | None = None
    model: dict[str, str] = Field(default_factory=dict)

    @property
    def run_arms(self) -> tuple[RunArm, ...]:
        return tuple(
            RunArm(
                **{**dict(arm), "family": lineage(arm.family or arm.kind, arm.decoded)},
            )
            for arm in self.arms
        )


def read_record(raw: dict[str, Any], task: str, path: Path) -> Record:
    """The record of `task` in the results file `path`.

    Raises:
        UserError: another schema, a missing or odd value, an arm twice, or no control first.
    """
    doing = f"reading what {task} recorded in {path}"
    fix = (
        "report with the version of emo-harness that made the run "
        f"({raw.get('emo_harness', 'unknown')}), or run the task again"
    )
    if raw.get("schema") != RECORD_SCHEMA:
        raise UserError(
            doing,
            found=f"schema {raw.get('schema')!r}",
            expected=f"a record of schema {RECORD_SCHEMA}",
            fix=fix,
        )
    record = validated(Record, raw, doing, fix)
    ids = [arm.id for arm in record.arms]
    repeated = sorted({i for i in ids if ids.count(i) > 1})
    if repeated:
        raise UserError(
            doing, found=f"several arms called {quoted(repeated)}", expected="each once", fix=fix
        )
    kinds = [arm.kind for arm in record.arms]
    if ids[:1] != [CONTROL] or kinds[0] != CONTROL or kinds.count(CONTROL) > 1:
        raise UserError(
            doing,
            found=f"the arms {quoted(f'{i} ({k})' for i, k in zip(ids, kinds, strict=True))}"
            if ids
            else "no arms",
            expected="the arm control (control) first, and placebos and stimuli after it",
            fix=fix,
        )
    return record
