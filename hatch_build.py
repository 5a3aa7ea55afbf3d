"""Build hook: put the expanded tasks and the resource folders into the wheel.

The tasks go to `lm_eval/tasks/emo_harness/`, where bare `lm_eval` looks; an editable install gets
them as well. Resource folders are copied into wheels alone: an editable install reads them from
the checkout.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OVERLAY = "lm_eval/tasks/emo_harness"


class OverlayHook(BuildHookInterface):
    """Expands `tasks/` into the folder that the wheel ships as part of lm-eval's task tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            from emo_harness.lm_tasks.expand import write_expanded
            from emo_harness.resources import FOLDERS
        finally:
            sys.path.remove(str(root))
        overlay = root / "build" / "overlay"
        shutil.rmtree(overlay, ignore_errors=True)
        write_expanded(overlay)
        shipped = {str(overlay): OVERLAY}
        if version == "editable":
            build_data["force_include_editable"].update(shipped)
            return
        for folder in FOLDERS:
            if (root / folder).is_dir():
                shipped[str(root / folder)] = f"emo_harness/_resources/{folder}"
        build_data["force_include"].update(shipped)
