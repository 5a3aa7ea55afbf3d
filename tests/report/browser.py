"""How pages are opened in a real browser: sizes of windows, and what opens one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDE, NARROW = 1400, 420
# 210 mm less margins of 1 cm.
A4_INNER = 718
# The fixture `opened` of conftest: opens the page that a module's fixture `address` names.
Open = Callable[..., Any]
