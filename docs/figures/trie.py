"""Draws docs/figures/trie.svg: the token trie of one real BBH question.

    python docs/figures/trie.py --data ../shared/data

The question is navigate's first, under control, placebos and three of the attack sentences, with
three worked examples before it; tokens are counted with the tokenizer of perf/shared_prefix.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.path import Path as Curve

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["svg.hashsalt"] = "emo-harness"
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.patches import PathPatch  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "perf"))

SHOWN = ("control", "neutral-12", "self-check", "ea01", "ea03", "ea07")
COLOURS = {"shared": "#dbe7f5", "arm": "#fbe9d7", "option": "#e6f2e1"}
EDGE = "#5b6675"
WRAP = 34


def tree(data: Path) -> tuple[list[tuple[str, int]], list[tuple[str, str, int, list[Any]]], Any]:
    """The shared nodes (text, tokens); per arm its id, text, tokens and options; all counts."""
    from shared_prefix import make_model
    from transformers import AutoTokenizer

    from emo_harness.prefix import build_trie
    from tests.conftest import build_task

    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), data)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    task = build_task("emo_bbh_cot_attack_navigate", placebos=2, data_dir=str(data / "bbh" / "bbh"))
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=1, rank=0, world_size=1)
    prompts = {r.arm: r.args[0] for r in task.instances}
    ids = {
        (arm, option): np.array(tokenizer.encode(prompt + option), np.int32)
        for arm, prompt in prompts.items()
        for option in (" Yes", " No")
    }
    trie, _ = build_trie(list(ids.values()))
    question = task.instances[0].doc["input"]
    examples = prompts["control"].split("Q: " + question)[0]
    n_examples = len(tokenizer.encode(examples))
    n_all = len(trie.roots[0].tokens)
    arms = []
    for arm in SHOWN:
        prompt = prompts[arm]
        end_of_control = "A: Let's think step by step."
        said = prompt.split(question)[1].replace(end_of_control, "").strip()
        own = len(tokenizer.encode(prompt)) - n_all
        arms.append((arm, said or "(no stimulus)", own, [" Yes", " No"]))
    shared = [("three worked examples", n_examples), ("Q: " + question, n_all - n_examples)]
    counts = {
        "prompts": len(ids),
        "naive": sum(map(len, ids.values())),
        "distinct": trie.n_tokens,
        "arms": len(prompts),
    }
    return shared, arms, counts


def box(axes: Any, x: float, y: float, width: float, text: str, kind: str, note: str) -> None:
    lines = textwrap.wrap(text, max(8, int(width * 8.2))) or [""]
    if len(lines) > 6:
        lines = [*lines[:5], lines[5][:12] + " …"]
    height = 0.30 * len(lines) + 0.42
    axes.add_patch(
        FancyBboxPatch(
            (x, y - height / 2), width, height, boxstyle="round,pad=0.04,rounding_size=0.08",
            facecolor=COLOURS[kind], edgecolor=EDGE, linewidth=0.8,
        )
    )  # fmt: skip
    axes.text(x + 0.1, y + 0.13, "\n".join(lines), va="center", fontsize=8.5, linespacing=1.25)
    axes.text(x + width - 0.06, y - height / 2 + 0.1, note, ha="right", fontsize=7, color=EDGE)


def link(axes: Any, x0: float, y0: float, x1: float, y1: float) -> None:
    middle = (x0 + x1) / 2
    curve = Curve(
        [(x0, y0), (middle, y0), (middle, y1), (x1, y1)],
        [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
    )
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=EDGE, linewidth=0.8))


def draw(data: Path, target: Path) -> None:
    shared, arms, counts = tree(data)
    figure, axes = plt.subplots(figsize=(11, 6.4))
    axes.set_xlim(0, 15.2)
    axes.set_ylim(-0.9, len(arms) * 1.25 + 0.2)
    axes.axis("off")
    middle = len(arms) * 1.25 / 2
    box(axes, 0.1, middle, 2.1, shared[0][0], "shared", f"{shared[0][1]} tokens")
    box(axes, 2.9, middle, 4.3, shared[1][0], "shared", f"{shared[1][1]} tokens")
    link(axes, 2.24, middle, 2.86, middle)
    for row, (arm, said, n_tokens, options) in enumerate(arms):
        y = (len(arms) - row - 0.5) * 1.25
        box(axes, 8.1, y, 4.7, said, "arm", f"{arm}, with the answer cue: {n_tokens} tokens")
        link(axes, 7.24, middle, 8.06, y)
        for option, shift in zip(options, (0.28, -0.28), strict=True):
            axes.text(
                13.75, y + shift, f"“{option}”", va="center", fontsize=8.5,
                bbox={"boxstyle": "round,pad=0.25", "facecolor": COLOURS["option"],
                      "edgecolor": EDGE, "linewidth": 0.8},
            )  # fmt: skip
            link(axes, 12.84, y, 13.64, y + shift)
    axes.text(8.1, -0.3, f"… and {counts['arms'] - len(arms)} more arms", fontsize=8.5, color=EDGE)
    axes.text(
        0.1, -0.75,
        f"{counts['arms']} arms x 2 options = {counts['prompts']} sequences: "
        f"{counts['naive']:,} tokens one by one, {counts['distinct']:,} in the trie",
        fontsize=10, weight="bold",
    )  # fmt: skip
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="published data")
    draw(parser.parse_args().data, Path(__file__).with_suffix(".svg"))


if __name__ == "__main__":
    main()
