"""What is said where the hub does not give a benchmark's questions."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from emo_harness.errors import UserError

# What `datasets` raises where the hub, or its local cache, does not have a data set.
HUB_ERRORS = (OSError, ValueError)
_LOCAL_FAILURES = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE)


@contextmanager
def hub_failures_told(place: str, task: str) -> Iterator[None]:
    """Tell a failure to load a data set; failures of this machine's own disk pass.

    Args:
        place: the data set's name on the hub.
        task: the task that asks it.

    Raises:
        UserError: the hub cannot be reached, or has no such data set.
    """
    try:
        yield
    except HUB_ERRORS as error:
        if isinstance(error, OSError) and error.errno in _LOCAL_FAILURES:
            raise
        benchmark = "mmmu" if place.startswith("MMMU/") else "bbh"
        embedded = "emo_bbh_visual_mini_" if "_visual_" in task else "emo_bbh_mini_"
        raise UserError(
            f"loading {place} from the hub for {task}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:120]}",
            expected="a reachable hub, or another source of questions",
            fix="""name a folder of the published files, --metadata '{"emo": {"data_dir": """
            f""""{benchmark}/"}}}}' or EMO_HARNESS_DATA, or ask the embedded {embedded} tasks""",
        ) from error
