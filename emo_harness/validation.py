"""Strict reading of what users write: pydantic's first complaint as a `UserError`."""

from __future__ import annotations

import json
import re
import reprlib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from emo_harness.errors import UserError, nearest, quoted

_TYPES = ("str", "int", "list")
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of every model that a file or a user fills: frozen, exact types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
        return f"no {where!r}", f"a value for {where!r}"
    # In a union pydantic names the branch it tried ("stimuli.str"); the key alone is the user's.
    where = ".".join(p for p in where.split(".") if p.isidentifier() and p not in _TYPES)
    shown = reprlib.repr(first["input"])
    found = f"{where} = {shown}" if where else shown
    if first["type"] == "literal_error":
        allowed = [part.strip("'") for part in re.findall(r"'[^']*'", first["ctx"]["expected"])]
        return found + nearest(str(first["input"]), allowed), quoted(allowed)
    expected = first["msg"].removeprefix("Value error, ")
    return found, expected[0].lower() + expected[1:]
