"""Strict reading of what users write: pydantic's first complaint as a `UserError`."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from emo_harness.errors import UserError, nearest, quoted

_TYPES = ("str", "int", "list")
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of every model that a file or a user fills: frozen, exact types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RefusedError(ValueError):
    """What a validator raises where its whole input, a file's mapping say, would tell nothing.

    Args:
        found: what is wrong.
        expected: what was expected instead.
    """

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(expected)
        self.found = found


def validated(model: type[Model], raw: object, doing: str, fix: str) -> Model:
    """Build `model` from `raw`.

    Raises:
        UserError: an unknown key (with the nearest known one), a missing key, a wrong value.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found, expected = _told(model, error)
        raise UserError(doing, found=found, expected=expected, fix=fix) from error


def read_json(model: type[Model], path: Path, expected: str, fix: str) -> Model:
    """Build `model` from a JSON file.

    Args:
        expected: what the file should be, for the message.

    Raises:
        UserError: no JSON, or not as the model says.
    """
    doing = f"reading {path}"
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(doing, found=f"no JSON ({error})", expected=expected, fix=fix) from error
    return validated(model, raw, doing, fix)


def _told(model: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    # A misspelt key is both unknown and missing; only the first helps.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    known = [field.alias or name for name, field in model.model_fields.items()]
    if first["type"] == "extra_forbidden":
        return f"an unknown key {where!r}{nearest(where, known)}", f"keys among {quoted(known, 12)}"
    if first["type"] == "missing":
        place = _place(first["loc"])
        return f"no {place!r}", f"a value for {place!r}"
    # In a union pydantic names the branch it tried ("stimuli.str"); the key alone is the user's.
    where = _place(first["loc"])
    shown = reprlib.repr(first["input"])
    found = f"{where} = {shown}" if where else shown
    refused = first.get("ctx", {}).get("error")
    if isinstance(refused, RefusedError):
        found = f"{where}: {refused.found}" if where else refused.found
    if first["type"] == "literal_error":
        allowed = [part.strip("'") for part in re.findall(r"'[^']*'", first["ctx"]["expected"])]
        return found + nearest(str(first["input"]), allowed), quoted(allowed)
    expected = first["msg"].removeprefix("Value error, ")
    return found, expected[0].lower() + expected[1:]


def _place(loc: Sequence[int | str]) -> str:
    """Where in a file: `concepts[0].emotion`."""
    named = [p for p in loc if isinstance(p, int) or (p.isidentifier() and p not in _TYPES)]
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in named).removeprefix(".")
