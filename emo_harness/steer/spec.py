"""A steering in one line of text: FILE:AXIS:DOSE[:layers=6-11][:positions=all][:site=value]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from emo_harness.axes import load_axes, named_axis
from emo_harness.errors import UserError, nearest, quoted
from emo_harness.steer.steering import Positions, Steering

FORM = "FILE:AXIS:DOSE[:layers=6-11][:positions=all][:site=value]"
EXAMPLE = "axes.safetensors:valence:+1.0:layers=6-11"
_OPTIONS = ("layers", "positions", "site")
_MOST_LAYERS = 10_000
_LAYERS = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class SteeringSpec:
    """What a user wrote of a steering; the file is not read yet."""

    path: Path
    axis: str
    dose: float
    layers: tuple[int, ...] | None = None
    positions: Positions = "all"
    site: str | None = None

    def load(self) -> Steering:
        """Read the axis.

        Raises:
            UserError: no such file, axis, layer or position.
        """
        axis = named_axis(load_axes(self.path), self.axis, self.site)
        return Steering(axis, self.dose, self.positions, self.layers)


def read_spec(text: str) -> SteeringSpec:
    """Read a steering's text.

    Raises:
        UserError: it does not have the form.

    Example:
        >>> read_spec("axes.safetensors:valence:-0.5:layers=6-7").layers
        (6, 7)
    """
    parts = str(text).split(":")
    options: dict[str, str] = {}
    while len(parts) > 1 and "=" in parts[-1]:
        name, _, value = parts.pop().partition("=")
        if name not in _OPTIONS:
            raise _misread(text, f"{name!r}{nearest(name, _OPTIONS)}", f"{quoted(_OPTIONS)}, once")
        if name in options or not value:
            told = "twice" if name in options else "without a value"
            raise _misread(text, f"{name!r} {told}", f"{quoted(_OPTIONS)}, once")
        options[name] = value
    if len(parts) < 3 or not all(parts[-3:]):
        raise _misread(text, "too few parts", FORM)
    *path, axis, dose = parts
    try:
        amount = float(dose)
    except ValueError as error:
        raise _misread(text, f"a dose of {dose!r}", "a number such as +1.0") from error
    return SteeringSpec(
        Path(":".join(path)).expanduser(),
        axis,
        amount,
        read_layers(options["layers"]) if "layers" in options else None,
        options.get("positions", "all"),  # type: ignore[arg-type]  # `Steering` refuses others.
        options.get("site"),
    )


def read_layers(text: str) -> tuple[int, ...]:
    """Layers as people write them: single ones and ranges, ends included.

    Raises:
        UserError: anything else.

    Example:
        >>> read_layers("0,6-8")
        (0, 6, 7, 8)
    """
    found: set[int] = set()
    for part in re.split(r"[,+]", text):
        matched = _LAYERS.fullmatch(part.strip())
        first, last = (int(n or matched[1]) for n in matched.groups()) if matched else (1, 0)
        if not first <= last < _MOST_LAYERS:
            raise UserError(
                "reading layers",
                found=repr(text[:60]),
                expected="numbers and ranges from lower to higher, e.g. 6-11 or 3,6-8",
                fix="layers are counted from 0",
            )
        found |= set(range(first, last + 1))
    return tuple(sorted(found))


def _misread(text: object, found: str, expected: str) -> UserError:
    return UserError(
        f"reading the steering {str(text)[:80]!r}",
        found=found,
        expected=expected,
        fix=f"e.g. --steer {EXAMPLE}",
    )
