"""Images: what sharing them saves, and what generating and checking them costs. One JSON line.

    python perf/images.py

`sharing` compares `emo-vlm` with lm-eval's `hf-multimodal` and with itself, sharing off (see
`perf/image_sharing.py`; a few minutes on one thread). `generation` and `check` compare `emo images`
with plain loops over diffusers and open_clip, where the extra `images` is installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The part of each name, and a package that it needs.
PARTS = {
    "sharing": ("image_sharing", "transformers"),
    "generation": ("image_generation", "diffusers"),
    "check": ("image_check", "open_clip"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], choices=[*PARTS], help="parts")
    asked = parser.parse_args()
    import torch
    import transformers

    line: dict[str, Any] = {
        "benchmark": "images",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": "cpu",
    }
    for name, (module, package) in PARTS.items():
        if asked.only and name not in asked.only:
            continue
        if find_spec(package) is None:
            line[name] = {"skipped": f"no {package}"}
            continue
        line[name] = importlib.import_module(module).measure()
        print(name, line[name], file=sys.stderr, flush=True)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
