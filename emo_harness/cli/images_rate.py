"""`emo images rate`: the model under test rates the images' valence and arousal."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.images import ImageEntry, ImageSet
    from emo_harness.rating import RatingResult

NAME = "rate"
EXAMPLE = "Example: emo images rate emoji --model ORG/VLM --out ratings/ --run runs/"


class Method(str, Enum):
    """How a rating is taken from a model."""

    likelihood = "likelihood"
    answer = "answer"


def command(
    images: str = typer.Argument(
        ..., help="A folder with a manifest, or the name of a shipped set."
    ),
    model: str = typer.Option(..., help="A multimodal model: a hub id or a local folder."),
    backend: str = typer.Option(
        "emo-vlm", help="lm-eval's model type; others than emo-vlm take --method answer."
    ),
    model_args: str = typer.Option("", help="Further arguments of the backend, as in emo run."),
    method: Method = typer.Option(
        Method.likelihood, help="likelihood (mean of 1 to 9 by probability), or answer (parsed)."
    ),
    chat: bool = typer.Option(False, help="Ask in the model's chat template."),
    concepts: list[str] = typer.Option([], "--concept", help="These concepts alone; repeatable."),
    device: str | None = typer.Option(None, help="cpu, cuda, ...; what is there by default."),
    out: Path | None = typer.Option(None, help="Folder for ratings.parquet and ratings.json."),
    run: Path | None = typer.Option(None, help="A run folder whose report shall show the ratings."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask a multimodal model how pleasant and how exciting it finds each image, from 1 to 9.

    Where the set has human norms, the ratings are correlated with them; images are held against
    their neutral twins.
    """
    from emo_harness.images import load_image_set

    if run is not None and not run.exists():
        raise UserError(
            "reading --run", found=f"no {run}", expected="a run folder", fix="check the path"
        )
    image_set = load_image_set(images)
    entries = _chosen(image_set, concepts)
    lm = _loaded(backend, model, model_args, device, method)
    result = _rated(lm, model, image_set, entries, method, chat)
    _write(result, out, run)
    if as_json:
        import json

        typer.echo(json.dumps(result.as_json()))
        return
    _tell(result, [place for place in (out, run) if place is not None])


def _chosen(image_set: ImageSet, concepts: list[str]) -> list[ImageEntry]:
    from emo_harness.errors import nearest, quoted

    known = list(dict.fromkeys(entry.concept for entry in image_set.entries))
    for concept in concepts:
        if concept not in known:
            raise UserError(
                "choosing images by --concept",
                found=f"{concept!r}{nearest(concept, known)}",
                expected=f"one of {quoted(known, 30)}",
                fix=f"see `emo images show {image_set.name}`",
            )
    return [entry for entry in image_set.entries if not concepts or entry.concept in concepts]


def _loaded(backend: str, model: str, model_args: str, device: str | None, method: Method) -> Any:
    import torch
    from lm_eval.api.registry import get_model, model_registry
    from lm_eval.utils import simple_parse_args_string

    from emo_harness.errors import nearest
    from emo_harness.lm_models import register_models
    from emo_harness.lm_models.refusals import loading
    from emo_harness.resources import embedded_model

    register_models()
    if backend not in model_registry:
        raise UserError(
            "reading --backend",
            found=f"no model type {backend!r}{nearest(backend, model_registry.keys())}",
            expected="one of lm-eval's that take images: emo-vlm, hf-multimodal, vllm-vlm",
            fix="leave --backend out for emo-vlm",
        )
    if backend != "emo-vlm" and method is Method.likelihood:
        raise UserError(
            f"rating with --backend {backend}",
            found="--method likelihood",
            expected="--method answer: this backend gives no log-likelihoods of answers to images",
            fix="add --method answer, or use emo-vlm",
        )
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    arguments = {"pretrained": embedded_model(model), **simple_parse_args_string(model_args)}
    with loading(model, backend):
        lm = get_model(backend)(
            **{**({} if "vllm" in backend else {"device": chosen}), **arguments}
        )
    if not getattr(lm, "MULTIMODAL", False):
        raise UserError(
            f"rating with --backend {backend}",
            found="a model type for text alone",
            expected="one that takes images: emo-vlm, hf-multimodal, vllm-vlm",
            fix="leave --backend out for emo-vlm",
        )
    return lm


def _rated(
    lm: Any,
    model: str,
    image_set: ImageSet,
    entries: list[ImageEntry],
    method: Method,
    chat: bool,
) -> RatingResult:
    from emo_harness.rating import rate_images, rating_result

    if chat and not (getattr(lm, "processor", None) and lm.processor.chat_template):
        raise UserError(
            "asking in a chat",
            found=f"no chat template with {model}",
            expected="a model that was made for conversations",
            fix="leave --chat out: image and question then simply follow each other",
        )
    rated = rate_images(
        lm,
        (image_set.open(entry) for entry in entries),
        method=method.value,
        in_chat=chat,
        total=len(entries),
    )
    return rating_result(model, method.value, image_set, entries, rated)


def _write(result: RatingResult, out: Path | None, run: Path | None) -> None:
    import json

    import pandas as pd

    from emo_harness.run_model import write_posthoc
    from emo_harness.whole_file import text_writer, write_folder

    told = result.as_json()
    table = pd.DataFrame(told["images"])
    if out is not None:
        writers = {
            "ratings.parquet": lambda path: table.to_parquet(path, index=False),
            "ratings.json": text_writer(json.dumps(told, indent=1, allow_nan=False)),
        }
        write_folder(out, writers, "writing ratings")
    if run is not None:
        write_posthoc(
            run, "image_ratings", told, {"image_ratings.parquet": table}, "writing ratings"
        )


def _tell(result: RatingResult, written: list[Path]) -> None:
    from emo_harness.cli.images_rate_table import print_ratings

    print_ratings(result)
    for place in written:
        typer.echo(f"written: {place}")
