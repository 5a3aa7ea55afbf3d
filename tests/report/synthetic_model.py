"""A made-up model under one family of stimuli, from which synthetic contents are made."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import yaml

from emo_harness.report.claims import ChosenStimulus, FamilyClaim
from emo_harness.report.effect_table import ALL_SUBTASKS, FAMILY_MEAN, EffectRow
from emo_harness.resources import resource

MODELS = (
    "Qwen3-8B",
    "Llama-3.1-8B-Instruct",
    "gemma-3-12b-it",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "Phi-4-mini-instruct",
)
SUBTASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)
Z = 1.96


class SyntheticModel:
    """One model under one family: a score per stimulus and subtask, made of random effects."""

    def __init__(
        self, number: int, family: str, subtasks: int, stimuli: int, per: int, limited: bool
    ) -> None:
        self.rng = np.random.default_rng([7, number, len(family)])
        self.label = MODELS[number % len(MODELS)]
        self.number, self.family, self.per, self.limited = number, family, per, limited
        self.subtasks = list(SUBTASKS[:subtasks])
        raw = yaml.safe_load(resource(f"templates/stimuli/{family}.yaml").read_text("utf-8"))
        self.stimuli = raw["stimuli"][:stimuli]
        placebo = yaml.safe_load(resource("templates/stimuli/placebo.yaml").read_text("utf-8"))
        self.placebos = placebo["stimuli"][:5]
        base = self.rng.uniform(25, 92, subtasks)
        mean = (-1.8, -0.25, -0.9, 0.1, 1.7)[number % 5]
        self.control = np.round(base * per / 100) * 100 / per
        size = (subtasks, len(self.stimuli))
        true = mean + self.rng.normal(0, 1.1, size[1]) + self.rng.normal(0, 2.0, size[0])[:, None]
        self.flipping = self.rng.uniform(0.03, 0.2, size[0])
        noise = self.rng.normal(0, 1, size) * self.se(self.per)[:, None]
        self.gain = np.clip(true + noise, -self.control[:, None], 100 - self.control[:, None])

    def se(self, n: int) -> np.ndarray:
        return 100 * np.sqrt(self.flipping / n)

    def rows(self) -> list[EffectRow]:
        total, rows = self.per * len(self.subtasks), []
        one = len(self.subtasks) == 1
        blocks: list[tuple[str, np.ndarray, float, np.ndarray, int]] = (
            []
            if one
            else [
                (
                    ALL_SUBTASKS,
                    self.gain.mean(0),
                    float(self.control.mean()),
                    self.se(total).mean(),
                    total,
                )
            ]
        )
        blocks += [
            (name, self.gain[i], float(self.control[i]), self.se(self.per)[i], self.per)
            for i, name in enumerate(self.subtasks)
        ]
        theories = list(dict.fromkeys(s["theory"] for s in self.stimuli))
        for subtask, gains, control, se, n in blocks:
            row = self._row(subtask, control, n)
            family_se = float(se) / math.sqrt(2)
            rows.append(
                row(FAMILY_MEAN, "family", float(gains.mean()), family_se, n_stimuli=len(gains))
            )
            for theory in theories:
                own = [i for i, s in enumerate(self.stimuli) if s["theory"] == theory]
                mean = float(gains[own].mean())
                rows.append(
                    row(theory, "theory", mean, family_se, n_stimuli=len(own), theory=theory)
                )
            for i, s in enumerate(self.stimuli):
                p = math.erfc(abs(gains[i]) / float(se) / math.sqrt(2))
                rows.append(
                    row(
                        s["id"],
                        "stimulus",
                        float(gains[i]),
                        float(se),
                        theory=s["theory"],
                        demand="yes" if s.get("demand") else "no",
                        arousal_rank=float(s.get("arousal_rank") or math.nan),
                        length=float(len(s["text"].split()) + 2),
                        text=s["text"],
                        q=min(1.0, 12 * p) if subtask != ALL_SUBTASKS else math.nan,
                    )
                )
            for s in self.placebos:
                gain = float(self.rng.normal(0, float(se)))
                length = float(len(s["text"].split()) + 1)
                rows.append(
                    row(
                        s["id"],
                        "placebo",
                        gain,
                        float(se),
                        family="placebo",
                        text=s["text"],
                        length=length,
                    )
                )
        return rows

    def _row(self, subtask: str, control: float, n: int) -> Any:
        def row(stimulus: str, kind: str, gain: float, se: float, **more: Any) -> EffectRow:
            p = math.erfc(abs(gain) / se / math.sqrt(2))
            values = {
                "model": self.label,
                "label": self.label,
                "benchmark": "bbh",
                "mode": "zeroshot",
                "placement": "suffix",
                "asked": self.family,
                "family": self.family,
                "stimulus": stimulus,
                "subtask": subtask,
                "kind": kind,
                "metric": "exact_match",
                "filter": "flexible-extract",
                "primary": True,
                "n_subtasks": len(self.subtasks) if subtask == ALL_SUBTASKS else 1,
                "n_questions": n,
                "n_stimuli": 1,
                "n_lost": 0,
                "control_pct": control,
                "arm_pct": control + gain,
                "gain_pp": gain,
                "gain_low_pp": gain - Z * se,
                "gain_high_pp": gain + Z * se,
                "gain_method": "t" if n > 50 else "score",
                "n_differing": int(n * 0.08),
                "p": p,
                "q": math.nan,
                "verdict": "" if kind in ("stimulus", "placebo") else _verdict(gain, se),
                "unparsed_control_pct": 1.2,
                "unparsed_arm_pct": 1.2 + 0.3 * (kind == "stimulus"),
                "truncated_control_pct": 0.0,
                "truncated_arm_pct": 0.0,
                "refused_control_pct": 0.0,
                "refused_arm_pct": 0.1,
                "answer_chars_control": 212.0,
                "answer_chars_arm": 219.0,
                "theory": "",
                "demand": "",
                "length_unit": "tokens",
                "limited": self.limited,
                "settings": json.dumps({"temperature": "0"}),
                "stimuli_sha256": "5d2" * 20,
                "text": "",
                "placebo": "neutral-12",
                "parsing_flag": "",
                "mde_pp": 2.8 * se,
                **more,
            }
            for name in ("gain_vs_placebo", "gain_vs_self_check", "gain_parsed"):
                shift = 0.1 if kind != "placebo" else math.nan
                values |= {
                    f"{name}_pp": gain + shift,
                    f"{name}_low_pp": gain + shift - Z * se,
                    f"{name}_high_pp": gain + shift + Z * se,
                }
            return made_of(EffectRow, values)

        return row

    def claim(self) -> FamilyClaim:
        n = self.per * len(self.subtasks)
        gain = float(self.gain.mean())
        se = float(self.se(n).mean()) / math.sqrt(2)
        like = (
            math.hypot(se, float(self.gain.mean(0).std(ddof=1)) / math.sqrt(len(self.stimuli)))
            if (len(self.stimuli) > 1)
            else math.nan
        )
        control = float(self.control.mean())
        by_stimulus = self.gain.mean(0)
        values = {
            "model": self.label,
            "label": self.label,
            "revision": f"{hash_of(self.label)}",
            "settings": "{}",
            "benchmark": "bbh",
            "mode": "zeroshot",
            "placement": "suffix",
            "asked": self.family,
            "family": self.family,
            "n_questions": n,
            "n_lost": 3 if self.number == 1 else 0,
            "n_subtasks": len(self.subtasks),
            "n_stimuli": len(self.stimuli),
            "limited": self.limited,
            "control_pct": control,
            "control_low_pct": control - 1.1,
            "control_high_pct": control + 1.1,
            "arm_pct": control + gain,
            "gain_pp": gain,
            "gain_low_pp": gain - Z * se,
            "gain_high_pp": gain + Z * se,
            "gain_method": "t",
            "p": math.erfc(abs(gain) / se / math.sqrt(2)),
            "p_holm": min(1.0, 5 * math.erfc(abs(gain) / se / math.sqrt(2))),
            "verdict": _verdict(gain, se),
            "like_low_pp": gain - 2.08 * like,
            "like_high_pp": gain + 2.08 * like,
            "like_method": "two-way t",
            "like_p": 0.02,
            "like_p_holm": 0.1,
            "like_verdict": "unknown" if math.isnan(like) else _verdict(gain, like),
            "margin_pp": 1.0,
            "mde_pp": 2.8 * se,
            "relative_pct": 100 * gain / control,
            "relative_low_pct": 100 * (gain - Z * se) / control,
            "relative_high_pct": 100 * (gain + Z * se) / control,
            "relative_refused": "",
            "parsed_gain_pp": gain * 0.9,
            "parsed_low_pp": gain * 0.9 - Z * se,
            "parsed_high_pp": gain * 0.9 + Z * se,
            "parsing_flag": "",
            "p_relabelled": 0.03,
            "boot_low_pp": gain - 1.9 * se,
            "boot_high_pp": gain + 1.9 * se,
            "like_boot_low_pp": gain - 2 * like,
            "like_boot_high_pp": gain + 2 * like,
            "best": self._chosen(by_stimulus, 1, se),
            "worst": self._chosen(by_stimulus, -1, se),
        }
        for name, shift in (("placebo", 0.12), ("self_check", -0.2)):
            values |= {
                f"{name}_gain_pp": gain + shift,
                f"{name}_low_pp": gain + shift - Z * se,
                f"{name}_high_pp": gain + shift + Z * se,
            }
        return made_of(FamilyClaim, values)

    def _chosen(self, gains: np.ndarray, sign: int, se: float) -> ChosenStimulus | None:
        if len(gains) < 2:
            return None
        order = [self.stimuli[i]["id"] for i in np.argsort(-sign * gains)]
        naive = float(sign * (sign * gains).max())
        honest = naive - sign * 0.7
        chosen = (order[0], order[1] if self.number % 2 else order[0])
        return ChosenStimulus(chosen, honest, honest - 3 * se, honest + 3 * se, order[0], naive)


def _verdict(gain: float, se: float) -> str:
    if abs(gain) + 1.645 * se < 1:
        return "no difference larger than the margin"
    if abs(gain) > 2.4 * se:
        return "raises" if gain > 0 else "lowers"
    return "undecided: needs about 21,000 questions"


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def made_of(kind: Any, values: dict[str, Any]) -> Any:
    """The dataclass with these values, and unknown numbers for the rest."""
    unknown = {f.name: math.nan if f.default is MISSING else f.default for f in fields(kind)}
    return kind(**{name: values.get(name, value) for name, value in unknown.items()})
