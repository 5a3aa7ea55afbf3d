"""Made-up report contents of any size, for the page alone: numbers hang together, nothing more."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_harness.report.ablation import AblationRow
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.flips import Flip
from emo_harness.report.leaderboard import LeaderboardRow
from emo_harness.runs import RunFacts
from emo_harness.runs.facts import QuestionSource
from tests.report.synthetic_model import MODELS, SyntheticModel, hash_of, made_of

PER_SUBTASK = 250


def contents(
    models: int = 5,
    subtasks: int = 27,
    stimuli: int = 22,
    families: tuple[str, ...] = ("attack",),
    per_subtask: int = PER_SUBTASK,
    flips: int = 300,
    ablations: bool = False,
    limited: bool = False,
    run_folders: tuple[Path, ...] = (),
) -> ReportContents:
    """Contents of that many models, subtasks and stimuli, always the same ones."""
    made = [
        SyntheticModel(number, family, subtasks, stimuli, per_subtask, limited)
        for family in families
        for number in range(models)
    ]
    claims = tuple(model.claim() for model in made)
    return ReportContents(
        rows=tuple(row for model in made for row in model.rows()),
        claims=claims,
        leaderboard=tuple(
            row for family in families for row in _board([c for c in claims if c.family == family])
        ),
        flips=tuple(_flip(number, made[number % len(made)]) for number in range(flips)),
        n_flips=flips * 41,
        ablations=_ablations(models) if ablations else (),
        facts=tuple(_facts(model) for model in made),
        margin_pp=1.0,
        remarks=("emo_bbh_attack of 2026-11-20 was merged from two results files.",),
        run_folders=run_folders,
        command="emo report runs/ --out report/",
    )


def with_questions(made: ReportContents, n: int, n_claims: int | None = None) -> ReportContents:
    """The contents with so few questions that all intervals are unknown, for 0 the gains too.

    Args:
        n: 0 or 1.
        n_claims: how many claims, with all that belongs to them; all by default.
    """
    told = made.claims[:n_claims]
    keys = {(claim.label, claim.family) for claim in told}

    def unknown(item: Any) -> Any:
        words = ("_low_", "_high_", "p_", "p", "q", "mde_pp", "_sd_pp", *(() if n else ("_p",)))
        lost = {
            field.name: math.nan
            for field in fields(item)
            if isinstance(getattr(item, field.name), float)
            and field.name not in ("length", "arousal_rank", "margin_pp")
            and (n == 0 or any(w == field.name or (len(w) > 2 and w in field.name) for w in words))
        }
        found: Any = replace(item, **lost, n_questions=n, verdict="unknown")
        if isinstance(item, FamilyClaim):
            found = replace(found, like_verdict="unknown", best=None, worst=None, n_lost=1 - n)
        return found

    def changed(item: Any) -> Any:
        return unknown(item) if (item.label, item.family) in keys else item

    return replace(
        made,
        claims=tuple(map(changed, made.claims)),
        rows=tuple(map(changed, made.rows)),
        leaderboard=tuple(
            replace(
                row,
                claim=changed(row.claim),
                **(
                    {}
                    if n or row.claim not in told
                    else {"rank_low": None, "rank_high": None, "tied": ""}
                ),
            )
            for row in made.leaderboard
        ),
    )


def _board(claims: list[FamilyClaim]) -> list[LeaderboardRow]:
    order = sorted(claims, key=lambda claim: -claim.gain_pp)
    made = []
    for claim in order:
        above = sum(c.gain_low_pp > claim.gain_high_pp for c in claims)
        below = sum(c.gain_high_pp < claim.gain_low_pp for c in claims)
        low, high = 1 + above, len(claims) - below
        made.append(LeaderboardRow(claim, low, high, "ab" if high - low > 1 else "abcde"[above]))
    return made


def _flip(number: int, model: SyntheticModel) -> Flip:
    rng = np.random.default_rng([3, number])
    stimulus = model.stimuli[number % len(model.stimuli)]
    subtask = model.subtasks[number % min(len(model.subtasks), 9)]
    question = " ".join(rng.choice(["not", "(", ")", "True", "and", "False", "or"], 90))
    control = f"Evaluate the result of a random Boolean expression.\n\nQ: {question} is\nA: "
    arm = control.replace("\nA: ", f"\n{stimulus['text']}\nA: ")
    fixed = number // 7 % 3 == 0
    right, wrong = ("True", "False") if number % 2 else ("False", "True")
    wordy = f"Let us see. {' '.join(rng.choice(['so', 'then', 'not', 'is'], 40))}: "
    parsed = (wrong, right) if fixed else (right, wrong)
    return Flip(
        label=model.label,
        benchmark="bbh",
        subtask=subtask,
        mode="zeroshot",
        family=model.family,
        doc_id=number,
        kind="fixed" if fixed else "broke",
        n_stimuli=1 + (300 - number) % len(model.stimuli),
        of_stimuli=len(model.stimuli),
        stimulus=stimulus["id"],
        stimulus_text=stimulus["text"],
        prompt_control=control,
        prompt_arm=arm,
        answer_control=wordy + parsed[0],
        answer_arm=wordy + parsed[1],
        parsed_control=parsed[0],
        parsed_arm=parsed[1],
        target=right,
        shortened=False,
        score_control=0.0 if fixed else 1.0,
        score_arm=1.0 if fixed else 0.0,
        n_repeats=1,
    )


def _ablations(models: int) -> tuple[AblationRow, ...]:
    return tuple(
        AblationRow(
            factor=factor,
            series=MODELS[number],
            family="attack",
            value=value,
            position=float(place),
            n_questions=6750,
            gain_pp=-1.0 + 0.4 * number - 0.3 * place,
            gain_low_pp=-1.6 + 0.4 * number - 0.3 * place,
            gain_high_pp=-0.4 + 0.4 * number - 0.3 * place,
            within_sd_pp=4.0 * place if factor == "temperature" else math.nan,
        )
        for factor, values in (
            ("temperature", ("0", "0.4", "0.7", "1.0")),
            ("placement", ("suffix", "prefix", "instruction")),
        )
        for number in range(models)
        for place, value in enumerate(values)
    )


def _facts(model: SyntheticModel) -> RunFacts:
    tasks = tuple(f"emo_bbh_{name}_{model.family}" for name in model.subtasks)
    values = {
        "results_file": f"results_2026-11-2{model.number}T10-11-12.345.json",
        "samples_bytes": 324_000_000,
        "date": f"2026-11-2{model.number}T10-11-12.345",
        "model": model.label,
        "model_source": "vllm",
        "revision": hash_of(model.label),
        "dtype": "bfloat16",
        "lm_eval_version": "0.4.13",
        "emo_harness_version": "0.1.0",
        "transformers_version": "5.23.0",
        "torch_version": "2.15.0",
        "git_hash": "01a68a9",
        "seeds": {"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": 1234},
        "settings": {"temperature": "0", "num_fewshot": "0"},
        "command": f"lm_eval --model vllm --model_args pretrained=org/{model.label} "
        "--tasks emo_bbh_attack --log_samples --output_path runs/",
        "evaluation_s": 5400.0 * (1 + model.number),
        "prompt_chars": 2.1e8,
        "answer_chars": 3.3e7,
        "prompt_tokens": 5.3e7,
        "answer_tokens": math.nan if model.number == 2 else 8.1e6,
        "stimuli_sha256": ("5d2" * 20,),
        "sources": tuple(QuestionSource(t, "hub", "lukaemon/bbh", "") for t in tasks),
        "chat_template_sha": hash_of("chat" + model.label),
        "tasks": tasks,
        "task_hashes": {task: hash_of(task) for task in tasks},
        "n_questions": model.per * len(model.subtasks),
        "n_dropped": 0,
        "limited": model.limited,
    }
    return made_of(RunFacts, values)
