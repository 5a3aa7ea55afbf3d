"""Runs of decoded stimuli made in memory: any layers, subtasks, sources and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from emo_harness.report.ablation import ablations
from emo_harness.report.contents import ReportContents
from emo_harness.report.decoded import decoded_depths
from emo_harness.report.effect_table import effect_rows
from emo_harness.report.family_claims import family_claims
from emo_harness.report.groups import groups_of
from emo_harness.report.leaderboard import leaderboard
from emo_harness.runs import ArmScores, RunArm
from emo_harness.stimuli import Decoding, lineage
from tests.report.made_scores import NEUTRAL, made_scores

WORDS = (" joy", "ful", " the", "喜び", "\n", " <b>bold</b>", "�", " été", ' & "quoted"', " Он")
SOURCES = ("prompt", "attack")
KINDS = ("random", "neutral", "permuted", "shuffled")
Rate = Callable[[str, str, float], float]
"""Share right under (source, kind, depth in [0, 1])."""


def no_effect(_source: str, _kind: str, _depth: float) -> float:
    return 0.5


def rising(source: str, kind: str, depth: float) -> float:
    """Meta prompts of source prompt alone gain with depth."""
    return 0.35 + 0.5 * depth if (source, kind) == ("prompt", "meta") else 0.5


def decoded_arm(
    source: str,
    kind: str,
    layer: int,
    *,
    model: str = "org/m",
    draw: int = 0,
    n_layers: int = 6,
    tokens: Sequence[str] | None = None,
    **other: object,
) -> RunArm:
    """One arm as `emo decode` and its task record it."""
    start = layer + 4 * ("meta", *KINDS).index(kind) + (source == "attack")
    shown = tuple(tokens or (WORDS[(start + i * (1 + draw)) % len(WORDS)] for i in range(6)))
    if kind == "neutral":
        name, of, control_of = f"neutral-l{layer:02}", "placebo", None
    elif kind == "meta":
        name, of, control_of = f"decoded-{source}-l{layer:02}", source, None
    else:
        name, of, control_of = f"{kind}-{source}-l{layer:02}", source, source
        name += f"-{draw + 1}" if draw else ""
    fields = {"site": "resid_post", "vector": "contrast", "pooling": "content", **other}
    decoded = Decoding.model_validate(
        {
            "source": of,
            "kind": kind,
            "control_of": control_of,
            "layer": layer,
            "n_layers": n_layers,
            "decoder": "logit-lens",
            "model": model,
            "draw": draw,
            "tokens": shown,
            "lost": (1,) if layer % 2 else (),
            "overlap": 0.25,
            **fields,
        }
    )
    is_meta = kind == "meta"
    return RunArm(
        name,
        "stimulus" if is_meta else "placebo",
        lineage("decoded" if is_meta else "placebo", decoded),
        None if is_meta else "decoded",
        " ".join("".join(shown).split()) + f" {name}",
        decoded=decoded,
    )


def decoded_arms(
    layers: Sequence[int] = range(6),
    sources: Sequence[str] = SOURCES,
    kinds: Sequence[str] = KINDS,
    draws: int = 2,
    model: str = "org/m",
    **other: object,
) -> list[RunArm]:
    """Meta prompts of all sources and layers, and their controls."""
    n_layers = max(layers) + 1
    made = {}
    for source in sources:
        for kind in ("meta", *kinds):
            for layer in layers:
                for draw in range(draws if kind == "random" else 1):
                    arm = decoded_arm(
                        source, kind, layer, model=model, draw=draw, n_layers=n_layers, **other
                    )
                    made[arm.id] = arm
    return list(made.values())


def decoded_scores(
    arms: Sequence[RunArm],
    *,
    rate: Rate = no_effect,
    subtasks: Sequence[str] = ("navigate", "snarks", "sums"),
    n: int = 60,
    model: str = "org/m",
    seed: int = 0,
    **other: object,
) -> list[ArmScores]:
    """Right-or-wrong scores of every arm, correlated over the arms of a question."""
    made = []
    for number, subtask in enumerate(subtasks):
        rng = np.random.default_rng([seed, number])
        hard = rng.random(n)

        def drawn(share: float, rng: np.random.Generator = rng, hard=hard) -> np.ndarray:
            redrawn = rng.random(n) < 0.3
            return (np.where(redrawn, rng.random(n), hard) < share).astype(float)

        scores: Mapping[str, np.ndarray] = {
            "control": drawn(0.5),
            NEUTRAL.id: drawn(0.5),
            **{arm.id: drawn(_share(arm, rate)) for arm in arms},
        }
        made.append(
            made_scores(scores, arms, subtask=subtask, model=model, family="decoded", **other)
        )
    return made


def decoded_contents(
    *scores: ArmScores, margin_pp: float = 1.0, run_folders: tuple[Path, ...] = ()
) -> ReportContents:
    """A report of these scores; without flips, as there are no samples to read them from."""
    groups = groups_of(scores)
    claims = family_claims(groups, margin_pp)
    return ReportContents(
        rows=tuple(effect_rows(groups, claims)),
        claims=tuple(claims),
        leaderboard=tuple(leaderboard(groups, claims)),
        flips=(),
        n_flips=0,
        ablations=tuple(ablations(claims)),
        facts=(),
        margin_pp=margin_pp,
        remarks=(),
        run_folders=run_folders,
        command="emo report runs/",
        decoded=decoded_depths(groups, margin_pp),
    )


def _share(arm: RunArm, rate: Rate) -> float:
    made = arm.decoded
    assert made is not None
    depth = made.layer / max(made.n_layers - 1, 1)
    return rate(made.control_of or made.source, made.kind, depth)
