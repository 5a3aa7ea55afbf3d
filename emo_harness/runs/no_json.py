"""No JSON: what is said of text or of a value that is not the JSON a file should hold."""

from __future__ import annotations

import json


def no_json(error: Exception) -> str:
    """Why `json.loads` failed, without Python's own words for it."""
    if isinstance(error, json.JSONDecodeError):
        # What stands in brackets is advice to programmers.
        why = error.msg.partition(" (")[0]
        return f"no JSON: {why}, character {error.pos}" if error.doc.strip() else "an empty file"
    if isinstance(error, UnicodeDecodeError):
        return f"bytes that are no UTF-8 text, at byte {error.start}"
    if isinstance(error, RecursionError):
        return "JSON nested too deeply to be read"
    if isinstance(error, OSError):
        return error.strerror or "a file that cannot be read"
    return "JSON with a value that cannot be read"


def json_kind(value: object) -> str:
    """The kind of a JSON value, e.g. "a JSON list"."""
    if value is None:
        return "null"
    kinds = {dict: "object", list: "list", str: "text", bool: "true or false"}
    return f"a JSON {kinds.get(type(value), 'number')}"
