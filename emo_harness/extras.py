"""Optional parts of the package: importing what an extra brings, or saying how to get it."""

from __future__ import annotations

import importlib
from types import ModuleType

from emo_harness.errors import UserError

# Importable module to the extra that installs it.
EXTRA_OF = {
    "diffusers": "images",
    "open_clip": "images",
    "imagehash": "images",
}


def import_extra(module: str, purpose: str) -> ModuleType:
    """Import a module that an extra installs.

    Args:
        module: one of `EXTRA_OF`.
        purpose: what needs it, e.g. "generating images".

    Raises:
        UserError: it is not installed; tells the extra and the command.
    """
    extra = EXTRA_OF[module]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            purpose,
            found=f"no package {error.name!r} in this environment",
            expected=f"emo-harness with its extra {extra!r}",
            fix=f"pip install 'emo-harness[{extra}]'",
        ) from error
