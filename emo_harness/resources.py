"""Where the files that come with the package lie, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# Models that come with the package, by the name a user may give.
EMBEDDED = {
    "emo-demo": "emo-demo-lm",
    "emo-feelings": "emo-feelings-lm",
    "emo-demo-vlm": "emo-demo-vlm",
    "emo-demo-clip": "emo-demo-clip",
    "emo-demo-diffusion": "emo-demo-diffusion",
}
FOLDERS = ("tasks", "templates", "stimuli_images")


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder.

    Args:
        name: a path that starts with one of `FOLDERS`, e.g. "templates/stimuli/attack.yaml".

    A wheel carries the folders inside the package, a checkout (and so an editable install) has
    them beside it. The caller decides what a missing file means.
    """
    top = name.split("/", 1)[0]
    if top not in FOLDERS:
        raise ValueError(f"{name!r} is under none of {FOLDERS}")
    inside = PACKAGE / "_resources"
    root = inside if (inside / top).is_dir() else PACKAGE.parent
    return root / name


def embedded_model(name: str) -> str:
    """The folder of a model that comes with the package, by its name; any other name as it is.

    A folder of the user's that is called so comes first.
    """
    if name in EMBEDDED and not Path(name).exists():
        return str(PACKAGE / "demo" / "weights" / EMBEDDED[name])
    return name
