"""Arms: the conditions under which one question is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from emo_harness.errors import UserError, quoted
from emo_harness.lm_tasks.expand import SHIPPED_FAMILIES
from emo_harness.lm_tasks.options import EmoOptions
from emo_harness.stimuli import DECODED, Stimulus, load_set, select, shuffled

CONTROL_ID = "control"
TASK_FAMILIES = (*SHIPPED_FAMILIES, DECODED)


@dataclass(frozen=True)
class Arm:
    """One condition: the untouched prompt (no stimulus), a placebo, or an emotional stimulus."""

    id: str
    kind: Literal["control", "placebo", "stimulus"]
    stimulus: Stimulus | None = None

    @property
    def text(self) -> str:
        """The sentence that is put into the prompt, "" where there is none."""
        return self.stimulus.text if self.stimulus else ""

    def record(self) -> dict[str, Any]:
        """What a run keeps of this arm."""
        if self.stimulus is None:
            return {"id": self.id, "kind": self.kind}
        kept = self.stimulus.model_dump(
            mode="json", exclude={"default", "source", "confidence"}, exclude_none=True
        )
        return {"id": self.id, "kind": self.kind, **kept}


CONTROL = Arm(CONTROL_ID, "control")


def arms_of(family: str, options: EmoOptions, task: str) -> tuple[Arm, ...]:
    """Control, placebos, stimuli, in this order.

    Args:
        family: the task's family, `all` for several side by side.
        options: what the user selected.
        task: the task's name, for messages.

    Raises:
        UserError: an unknown name, a family that does not belong here, or no arm but control.
    """
    if options.stimuli is None:
        if family == DECODED:
            raise _nothing_decoded(task)
        families = SHIPPED_FAMILIES if family == "all" else (family,)
        chosen = tuple(s for name in families for s in load_set(name).default_stimuli)
    else:
        _refuse_images(options.stimuli, task)
        chosen = select(options.stimuli)
    emotional = tuple(s for s in chosen if s.placebo is None)
    _check_families(family, emotional, task)
    placebos = _placebos(options.placebos, emotional)
    placebos += tuple(s for s in chosen if s.placebo is not None and s not in placebos)
    return assembled(placebos, emotional, task)


def assembled(
    placebos: Sequence[Stimulus], emotional: Sequence[Stimulus], task: str
) -> tuple[Arm, ...]:
    """Control, placebos, stimuli, in this order.

    Raises:
        UserError: no arm but control, or two of one id.
    """
    if not placebos and not emotional:
        raise UserError(
            f"choosing the arms of {task}",
            found="no stimulus and no placebo",
            expected="at least one arm beside control",
            fix="name stimuli, or leave placebos in",
        )
    ids = [s.id for s in (*placebos, *emotional)]
    repeated = sorted({i for i in ids if ids.count(i) > 1})
    if repeated:
        raise UserError(
            f"choosing the arms of {task}",
            found=f"two different arms called {quoted(repeated)}",
            expected="one stimulus or placebo per id",
            fix="give the stimulus in your own set another id",
        )
    return (
        CONTROL,
        *(Arm(s.id, "placebo", s) for s in placebos),
        *(Arm(s.id, "stimulus", s) for s in emotional),
    )


def _placebos(
    wanted: int | str | list[str] | None, emotional: Sequence[Stimulus]
) -> tuple[Stimulus, ...]:
    shipped = load_set("placebo").default_stimuli
    neutral = [s for s in shipped if s.placebo == "neutral"]
    if wanted is None:
        return shipped
    if isinstance(wanted, int):
        if not 0 <= wanted <= len(neutral):
            raise UserError(
                "choosing placebos",
                found=f"placebos = {wanted}",
                expected=f"0 to {len(neutral)}",
                fix="name placebos of your own in a list for more",
            )
        checks = [s for s in shipped if s.placebo == "self-check"]
        return (*neutral[:wanted], *checks) if wanted else ()
    return named_placebos([wanted] if isinstance(wanted, str) else wanted, emotional)


def named_placebos(names: Sequence[str], emotional: Sequence[Stimulus]) -> tuple[Stimulus, ...]:
    """Sentences named as `stimuli` names them; "shuffled" for all stimuli's words in random order.

    Raises:
        UserError: one of them is no placebo.
    """
    named = select([name for name in names if name != "shuffled"], also_known=emotional)
    said = [s for s in emotional if s.text and s.image is None]
    mixed = [shuffled(s) for s in said] if "shuffled" in names else []
    chosen = {s.id: s for s in (*named, *mixed)}
    refuse_emotional(chosen.values())
    return tuple(chosen.values())


def refuse_emotional(placebos: Iterable[Stimulus]) -> None:
    """Refuse a placebo that is none.

    Raises:
        UserError: names it.
    """
    wrong = [s.id for s in placebos if s.placebo is None]
    if wrong:
        raise UserError(
            "choosing placebos",
            found=f"{quoted(wrong)}, not a placebo",
            expected="stimuli of family placebo",
            fix="see `emo stimuli show placebo`, or set `family: placebo` in your own set",
        )


def _check_families(family: str, emotional: Sequence[Stimulus], task: str) -> None:
    """Refuse an average over families, and a shipped family under another one's name."""
    if family == "all":
        return
    families = sorted({_task_family(s) for s in emotional})
    if len(families) > 1:
        raise UserError(
            f"choosing the stimuli of {task}",
            found=f"stimuli of several families ({quoted(families)})",
            expected="one family, because a task averages over its stimuli",
            fix="use the `_all` task, which reports each family on its own",
        )
    parts = families[0].split("+") if families else []
    foreign = [part for part in parts if part in TASK_FAMILIES and part != family]
    if foreign:
        other = "all" if len(parts) > 1 else foreign[0]
        raise UserError(
            f"choosing the stimuli of {task}",
            found=f"stimuli of family {families[0]}",
            expected=f"family {family}, or a family of your own",
            fix=f"use {task.replace(f'_{family}', f'_{other}')}",
        )


def _task_family(stimulus: Stimulus) -> str:
    """What its family's tasks are called: meta prompts go together, whatever was decoded."""
    parts = stimulus.family.split("+")
    own = {DECODED if part.startswith(f"{DECODED}-") else part for part in parts}
    return "+".join(sorted(own))


def _refuse_images(stimuli: str | Sequence[str], task: str) -> None:
    names = [stimuli] if isinstance(stimuli, str) else stimuli
    shown = [name for name in names if "img:" in str(name).lower()]
    if shown:
        raise UserError(
            f"choosing the stimuli of {task}",
            found=f"the image {shown[0][:60]}",
            expected="sentences, since this task shows no images",
            fix="ask a visual task, such as emo_bbh_visual_attack (`emo tasks list`)",
        )


def _nothing_decoded(task: str) -> UserError:
    return UserError(
        f"choosing the stimuli of {task}",
        found="no `stimuli`",
        expected="the set that `emo decode` wrote; meta prompts are a model's, so none are shipped",
        fix="run `emo decode prompt attack --model MODEL --out DIR`, then add "
        """--metadata '{"emo": {"stimuli": "DIR/meta.yaml"}}'""",
    )
