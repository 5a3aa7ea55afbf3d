"""Files of a probing corpus as they are parsed: JSON in the Emo_LLM formats, YAML in ours."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from emo_harness.errors import UserError
from emo_harness.text_file import read_text

MEND = "mend the file; docs/probing-corpus.md shows the formats"


def parsed(path: Path, doing: str) -> Any:
    """What a JSON or YAML file holds; the suffix says which, else its first character.

    Raises:
        UserError: not a readable file, too large, not UTF-8, not JSON or YAML, a key twice.
    """
    text = read_text(path, doing)
    suffix = path.suffix.lower()
    if suffix == ".json" or (
        suffix not in (".yaml", ".yml") and text.lstrip().startswith(("{", "["))
    ):
        return _json(text, doing)
    return _yaml(text, doing)


def file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def text_mistake(text: str) -> str | None:
    """Why a text cannot stand in a prompt, or None."""
    if not text.strip():
        return "an empty text"
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        return "a control character or half of a surrogate pair"
    return None


class _KeyTwiceError(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _KeyTwiceError(key)
        found[key] = value
    return found


class _OnceLoader(yaml.SafeLoader):
    """`yaml.safe_load`'s loader, which also refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        _once([(key, None) for key in keys])
        return super().construct_mapping(node, deep)


def _twice(error: _KeyTwiceError, doing: str) -> UserError:
    found = f"the key {str(error)!r} twice"
    return UserError(doing, found=found, expected="every key once", fix=MEND)


def _json(text: str, doing: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _KeyTwiceError as error:
        raise _twice(error, doing) from error
    except json.JSONDecodeError as error:
        raise UserError(
            doing,
            found=f"broken JSON in line {error.lineno}, column {error.colno}: {error.msg}",
            expected="a JSON file",
            fix=MEND,
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError(
            doing, found="JSON that cannot be parsed", expected="a JSON file", fix=MEND
        ) from error


def _yaml(text: str, doing: str) -> Any:
    try:
        loader = _OnceLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except _KeyTwiceError as error:
        raise _twice(error, doing) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(
            doing,
            found=f"broken YAML{where}: {getattr(error, 'problem', None) or 'cannot be parsed'}",
            expected="a YAML or JSON file",
            fix=MEND,
        ) from error
