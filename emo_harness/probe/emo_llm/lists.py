"""Files of the Emo_LLM corpus, found in its datasets folder by their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emo_harness.errors import UserError, quoted

if TYPE_CHECKING:
    from emo_harness.probe.corpus import Corpus

Which = Literal["published", "later"]
WHICH: tuple[Which, ...] = ("published", "later")
TEMPLATES = "prompt_templates_0330b2024.json"
# Adjective files, the published number of adjectives in them, and how the lists of commit e12b48d,
# which were published, are called beside those that replaced them.
ADJECTIVES = {
    "happy_sad_adjectives": ("valence", 190, "happy_sad_adjectives.e12b48d_190.json"),
    "low_high_arousal_adjectives": (
        "arousal",
        101,
        "low_high_arousal_adjectives.e12b48d_101.json",
    ),
}


@dataclass(frozen=True)
class EmoLLMFiles:
    """Adjective files, valence before arousal, and the templates."""

    adjectives: tuple[Path, ...]
    templates: Path


def find_files(folder: Path, which: Which) -> EmoLLMFiles:
    """Find the corpus in a checkout of Emo_LLM, its datasets folder, or a folder like that.

    Args:
        which: "published" takes the lists of commit e12b48d where they lie beside the later ones;
            "later" takes those under the plain names.

    Raises:
        UserError: the templates or an adjective file is missing.
    """
    doing = f"looking for Emo_LLM's adjectives and templates in {folder}"
    places = [place for place in (folder, folder / "datasets") if (place / TEMPLATES).is_file()]
    if not places:
        raise UserError(
            doing,
            found=f"no {TEMPLATES}" if folder.is_dir() else "no such folder",
            expected="the datasets folder of a checkout of amanb2000/Emo_LLM",
            fix="give that folder with --datasets",
        )
    found = []
    for stem, (_, _, published) in ADJECTIVES.items():
        plain = f"{stem}.json"
        names = [published, plain] if which == "published" else [plain]
        there = [places[0] / name for name in names if (places[0] / name).is_file()]
        if not there:
            others = sorted(path.name for path in places[0].glob(f"{stem}*.json"))
            raise UserError(
                doing,
                found=f"no {' nor '.join(names)}" + (f", but {quoted(others)}" if others else ""),
                expected="an adjective file for valence and one for arousal",
                fix="complete the folder, or use the other of --lists published and later",
            )
        found.append(there[0])
    return EmoLLMFiles(tuple(found), places[0] / TEMPLATES)


def lists_told(corpus: Corpus) -> list[str]:
    """One sentence per adjective list: which it is, and whether the published figures are of it."""
    n_published = {name: n for name, n, _ in ADJECTIVES.values()}
    told = []
    for one in corpus.lists:
        for dimension in one.dimensions:
            n, expected = len(one.words), n_published.get(dimension.name)
            remark = "as published" if n == expected else f"the published figures are of {expected}"
            told.append(
                f"{dimension.name}: {one.path.name}, {n} adjectives"
                + (f" ({remark})" if expected else "")
            )
    return told
