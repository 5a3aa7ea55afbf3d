"""BIG-Bench Hard: the hub as upstream loads it, or a local folder of the published files."""

from __future__ import annotations

from emo_harness.benchmarks.source import Questions, Source, local_folder, read_published

HUB_ID = "SaylorTwift/bbh"


def questions(subtask: str, data_dir: str | None) -> Questions:
    """Where the questions of one subtask come from; nothing falls back to anything else.

    Raises:
        UserError: a folder was named that lacks the subtask, or holds a broken file.
    """
    folder = local_folder("bbh", data_dir)
    if folder is None:
        return Questions(Source("hub", f"{HUB_ID}/{subtask}"))
    return read_published(folder, subtask)
