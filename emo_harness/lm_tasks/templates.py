"""Compile each prompt template once.

lm-eval compiles a Jinja template every time it renders it, about a millisecond each. A question
is rendered and scored once per arm here, so that would be most of the time outside the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from lm_eval import utils


@lru_cache(maxsize=4096)
def _compiled(template: str) -> Any:
    return utils.env.from_string(template)


def _apply(template: str, doc: dict[str, Any]) -> str:
    return str(_compiled(template).render(**doc))


@contextmanager
def compiled_once() -> Iterator[None]:
    """While this is open, lm-eval renders from templates that stay compiled."""
    upstream = utils.apply_template
    utils.apply_template = _apply
    try:
        yield
    finally:
        utils.apply_template = upstream
