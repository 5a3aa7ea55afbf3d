"""How long it takes to start: prints one JSON line.

    python perf/startup.py

`import_s` and `help_s` are whole processes, the best of several; `index_ours_s` and
`load_group_s` are lm-eval's own index of our tasks and the building of one group's 27 tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

REPEATS = 5


def best_of(action: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return round(min(times), 3)


def process(program: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    times = {
        "python_s": best_of(process("pass")),
        "import_s": best_of(process("import emo_harness")),
        "help_s": best_of(
            process("import sys; sys.argv = ['emo', '--help']; "
                    "from emo_harness.cli.main import main; main()")
        ),
    }  # fmt: skip
    from lm_eval.tasks import TaskManager

    from emo_harness.lm_tasks.host import tasks_folder

    with tasks_folder() as folder:
        ours = {"include_defaults": False, "include_path": str(folder)}
        times["index_ours_s"] = best_of(lambda: TaskManager(**ours))
        manager = TaskManager(**ours)
        manager.load("emo_bbh_mini_attack_navigate")
        times["load_group_s"] = best_of(lambda: manager.load("emo_bbh_mini_attack"), 3)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
