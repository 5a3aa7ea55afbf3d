"""`emo attribute`: which words of a stimulus move the answers of a run."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path

import typer

from emo_harness.cli.run_model_options import (
    ComputedIn,
    Device,
    Dtype,
    Force,
    ModelPlace,
    OwnModel,
    OwnRevision,
    RemoteCode,
)

EXAMPLE = (
    "Examples: emo attribute runs/ && emo report runs/ --out report/; "
    "emo attribute runs/ --methods leave-one-out --questions 100 --arms ep02,neutral-5"
)
NAME_OF_RESULT = "attribution"


class BaselineChoice(str, Enum):
    """What integrated gradients start from."""

    mean = "mean"
    placebo = "placebo"


def attribute(
    run: Path = typer.Argument(..., help="A run folder with samples (--log_samples)."),
    methods: list[str] = typer.Option(
        [],
        help="leave-one-out, integrated-gradients, gradient-x-input, gradient-norm, "
        "attention-rollout, separated by commas; all by default.",
    ),
    questions: int = typer.Option(
        12, min=1, help="Draw so many questions, evenly from the subtasks."
    ),
    arms: list[str] = typer.Option(
        [], help="Ids of stimuli and placebos, separated by commas; all by default."
    ),
    tasks: list[str] = typer.Option(
        [], help="Tasks or subtasks of the run, separated by commas; all by default."
    ),
    flips: int = typer.Option(10, min=0, help="Show so many of the strongest flips, word by word."),
    baseline: BaselineChoice = typer.Option(
        BaselineChoice.mean,
        help="Integrated gradients start from the vocabulary's mean embedding, or from the nearest "
        "neutral placebo in place of the stimulus.",
    ),
    integrated_arms: int = typer.Option(
        1,
        min=0,
        help="Integrate gradients for so many arms of each family, drawn for every question; 0 for "
        "all. It takes about 20 times as long as all else.",
    ),
    randomised_prompts: int = typer.Option(
        12, min=0, help="Attribute so many prompts with random weights too, as a control."
    ),
    no_randomised: bool = typer.Option(False, "--no-randomised", help="Leave that control out."),
    model: OwnModel = None,
    revision: OwnRevision = None,
    force: Force = False,
    dtype: ComputedIn = Dtype.float32,
    device: Device = None,
    remote_code: RemoteCode = False,
    seed: int = typer.Option(0, help="Of drawn questions, prompts and random weights."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Attribute the right answer's log-probability to the words of the prompts of a run.

    Writes posthoc/attribution.json (which emo report shows) and attribution.parquet, a row per
    prompt, method and word, into the run folder.
    """
    import tempfile

    from tqdm import tqdm

    from emo_harness.attribution.attribute import Plan
    from emo_harness.attribution.attribute import attribute as attributed
    from emo_harness.attribution.methods import chosen_methods
    from emo_harness.attribution.piece_table import PieceTable
    from emo_harness.attribution.result import known
    from emo_harness.attribution.sample import sampled_groups
    from emo_harness.cli.attribute_tables import print_attribution
    from emo_harness.run_model import is_steered, read_model_runs, write_posthoc

    plan = Plan(
        chosen_methods(_listed(methods)),
        baseline.value,
        integrated_arms,
        flips,
        0 if no_randomised else randomised_prompts,
        seed,
    )
    scores = read_model_runs(run)
    groups = sampled_groups(
        scores, questions, seed, tasks=_listed(tasks) or None, arms=_listed(arms) or None
    )
    steered = {one.task for one in scores if is_steered(one)}
    if steered:
        typer.echo(f"left out: {len(steered)} tasks asked of a steered model", err=True)
    read_in = ModelPlace(model, revision, dtype, device, remote_code, force).of_run(scores)
    bar = tqdm(
        total=plan.total_work(groups),
        desc="attributing",
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left",
        disable=None,
    )
    with bar, tempfile.TemporaryDirectory() as kept, PieceTable(Path(kept)) as table:
        result = known(attributed(read_in, groups, plan, table, bar.update))
        tables = {f"{NAME_OF_RESULT}.parquet": table}
        file = write_posthoc(run, NAME_OF_RESULT, result, tables, "writing attributions")
    if as_json:
        typer.echo(json.dumps(result))
        return
    print_attribution(result)
    typer.echo(f"written: {file}; emo report {run} shows it")


def _listed(given: list[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]
