"""`emo images generate`: the images of a recipe, made by a text-to-image model."""

from __future__ import annotations

import json
import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.images.further_arguments import Argument
    from emo_harness.images.generation import Work

NAME = "generate"
EXAMPLE = (
    "Examples: emo images generate demo --model emo-demo-diffusion --out images/; "
    "emo images generate attack --model ORG/MODEL --dtype bfloat16 --batch-size 8 --out images/; "
    "accelerate launch --multi_gpu --num_processes 4 -m emo_harness images generate attack "
    "--model ORG/MODEL --out images/"
)
DOING = "reading the arguments of emo images generate"
FAILED = 1
LEAST_PIXELS, MOST_PIXELS = 8, 8192
# As Python, YAML and JSON write what is neither a number nor text.
WORDS = {"true": True, "false": False, "null": None, "none": None}


class Dtype(str, Enum):
    """What is computed in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Offload(str, Enum):
    """What is on the accelerator while it is not computed."""

    none = "none"
    model = "model"
    sequential = "sequential"


def command(
    recipe: str = typer.Argument(..., help="A shipped recipe (attack, prompt, ...) or a file."),
    model: str = typer.Option(
        ..., "--model", help="A pipeline of diffusers: folder, repository, emo-demo-diffusion."
    ),
    out: Path = typer.Option(..., "--out", help="Folder for the set; it may be half done."),
    concepts: str = typer.Option(None, help="Make only these of the recipe, comma-separated."),
    limit: int = typer.Option(
        None, min=1, help="Make only so many images (and their twins), each concept in turn."
    ),
    steps: int = typer.Option(None, min=1, help="Of denoising; the pipeline's own by default."),
    guidance: float = typer.Option(
        None, min=0.0, help="Scale; the pipeline's own by default (turbo models want 0)."
    ),
    size: str = typer.Option(
        None, help="SIDE or WIDTHxHEIGHT in pixels; the recipe's, else the pipeline's by default."
    ),
    scheduler: str = typer.Option(None, help="A class of diffusers; the pipeline's by default."),
    further: list[str] = typer.Option(
        [], "--set", help="NAME=VALUE: any other argument of the pipeline's call; repeatable."
    ),
    batch_size: int = typer.Option(4, min=1, help="Halved by itself where memory is short."),
    dtype: Dtype = typer.Option(
        Dtype.auto, help="To compute in; auto: float32 on a CPU, else bfloat16."
    ),
    device: str = typer.Option(None, help="cpu, cuda, ...; what is there by default."),
    attention_slicing: bool = typer.Option(
        False, "--attention-slicing", help="Less memory: attention in slices, decoding one by one."
    ),
    cpu_offload: Offload = typer.Option(
        Offload.none, help="Less memory: a model at a time on the accelerator, or a module."
    ),
    retries: int = typer.Option(
        3, min=0, help="How often an image that failed, and its twin, are made anew."
    ),
    revision: str = typer.Option(None, help="Branch, tag or commit on the hub."),
    variant: str = typer.Option(None, help="Of the files of weights, as fp16."),
    trust_remote_code: bool = typer.Option(
        False,
        "--trust_remote_code",
        "--trust-remote-code",
        help="Run code that comes with the model.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print what was done as JSON."),
) -> None:
    """Generate the images of a recipe, each with its neutral twin, made with the same seed.

    The same command goes on where one ended, however it ended, and makes only what is missing; with
    `accelerate launch --multi_gpu` several GPUs share the work, with `torchrun` several processes
    on CPUs too. Black frames, images of one colour,
    verdicts of a safety checker and failed decodings are made anew with another seed and never get
    into the set. Exit code 1: some images failed for good; 2: all of them, or a mistake.
    """
    from emo_harness.images.pipeline import CallSettings
    from emo_harness.images.recipe import load_recipe
    from emo_harness.images.scenes import part_of, scenes_of
    from emo_harness.whole_file import require_folder

    if guidance is not None:
        _require_finite(f"--guidance {guidance}", guidance)
    read = load_recipe(recipe)
    planned = read.images()
    part = part_of(scenes_of(planned), concepts=_names(concepts), limit=limit)
    side = (read.size, read.size) if read.size else None
    settings = CallSettings(
        steps=steps,
        guidance=guidance,
        size=_size(size) or side,
        arguments=dict(_argument(text) for text in further),
    )
    require_folder(out, f"generating images into {out}")
    # What takes seconds to import comes after what may be mistyped.
    from emo_harness.activations.loading import torch_device
    from emo_harness.activations.processes import Processes
    from emo_harness.images.generation import generate
    from emo_harness.images.pipeline import TextToImage
    from emo_harness.images.pipeline_files import identify_pipeline
    from emo_harness.images.pipeline_loading import dtype_on, load_pipeline
    from emo_harness.images.resume import plan_of

    processes = Processes.of_environment()
    own_device = processes.own_device(device)
    computed = dtype_on(torch_device(own_device, DOING), dtype.value)
    plan = plan_of(
        read.name,
        planned,
        identify_pipeline(model, revision),
        settings,
        dtype=computed,
        scheduler=scheduler,
        variant=variant,
    )

    def load() -> TextToImage:
        loaded = load_pipeline(
            model,
            revision=revision,
            variant=variant,
            dtype=computed,
            device=own_device,
            scheduler=scheduler,
            attention_slicing=attention_slicing,
            cpu_offload=None if cpu_offload is Offload.none else cpu_offload.value,
            trust_remote_code=trust_remote_code,
        )
        return TextToImage(loaded, settings)

    work = generate(
        planned,
        plan,
        load,
        out,
        part=part,
        batch_size=batch_size,
        retries=retries,
        processes=processes,
        title=read.title,
    )
    if processes.is_first:
        _tell(work, out, as_json)


def _tell(work: Work, out: Path, as_json: bool) -> None:
    from emo_harness.images.failures import FAILURES
    from emo_harness.images.generated_set import SHEET

    if not work.n_set:
        first = work.given_up[0]
        raise UserError(
            f"generating images into {out}",
            found=f"none that is an image; {first.id}: {first.reason}",
            expected="at least one",
            fix=f"see {out / FAILURES}; try other --steps, --guidance, --size, --dtype float32",
        )
    if as_json:
        typer.echo(json.dumps(_told(work, out)))
    else:
        for remark in work.remarks:
            typer.echo(remark)
        if work.n_made or work.given_up:
            by = f" by {work.n_processes} processes" if work.n_processes > 1 else ""
            typer.echo(f"generated: {work.n_made} images in {work.seconds:.0f} s{by}")
        else:
            typer.echo("nothing to do: all images are there")
        if work.n_failed:
            typer.echo(f"failed attempts, made anew with another seed: {work.n_failed}")
        for failure in work.given_up:
            typer.echo(
                f"given up, with its twin: {failure.id}, {failure.reason} "
                f"({failure.attempt + 1} attempts; more with --retries)"
            )
        typer.echo(f"the set has {work.n_set} images; look at them: {out / SHEET}")
    if work.given_up:
        raise typer.Exit(FAILED)


def _told(work: Work, out: Path) -> dict[str, Any]:
    return {
        "folder": str(out),
        "n_images": work.n_set,
        "n_made": work.n_made,
        "n_there": work.n_there,
        "n_failed_attempts": work.n_failed,
        "n_processes": work.n_processes,
        "given_up": [failure.model_dump() for failure in work.given_up],
        "remarks": work.remarks,
        "seconds": work.seconds,
    }


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(_is_side(side) for side in sides):
        raise UserError(
            DOING,
            found=f"--size {text}",
            expected="a side or WIDTHxHEIGHT in pixels, as 512 or 768x512, each side from "
            f"{LEAST_PIXELS} to {MOST_PIXELS}",
            fix="correct it",
        )
    return int(sides[0]), int(sides[-1])


def _is_side(text: str) -> bool:
    return text.isdecimal() and LEAST_PIXELS <= int(text) <= MOST_PIXELS


def _argument(text: str) -> tuple[str, Argument]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise UserError(
            DOING,
            found=f"--set {text}",
            expected="NAME=VALUE",
            fix="write it as --set true_cfg_scale=4",
        )
    if value.lower() in WORDS:
        return name, WORDS[value.lower()]
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    if isinstance(read, float):
        _require_finite(f"--set {text}", read)
    return name, read if isinstance(read, float | int) else value


def _require_finite(option: str, value: float) -> None:
    if not math.isfinite(value):
        raise UserError(
            DOING, found=option, expected="a finite number", fix="correct it, or leave it out"
        )
