"""The upstream task that a task of ours wraps: its configuration as lm-eval itself reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_config(path: str) -> dict[str, Any]:
    """Load one of lm-eval's own task files, includes and functions resolved.

    Args:
        path: relative to `lm_eval/tasks`, e.g. "bbh/zeroshot/navigate.yaml".
    """
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml

    return load_yaml(Path(lm_eval.tasks.__file__).parent / path, resolve_func=True)
