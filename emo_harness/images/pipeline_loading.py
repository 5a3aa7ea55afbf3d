"""Loading a text-to-image pipeline: safetensors alone, and no code of its own unless asked for."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from emo_harness.errors import UserError, first_line, nearest, quoted
from emo_harness.extras import import_extra
from emo_harness.images.pipeline_files import (
    PipelineIdentity,
    identify_pipeline,
    missing_parts,
    pickles_alone,
    refuse_unsafe,
    snapshot_sha256,
)
from emo_harness.resources import embedded_model

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
# Made for models distilled from such as the others are for, whose lists do not name them.
FOR_DISTILLED = ("LCMScheduler", "TCDScheduler")
LIBRARIES = ("diffusers", "emo-harness", "torch", "transformers", "Pillow")

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Offload = Literal["model", "sequential"]


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline on its device.

    Attributes:
        pipe: diffusers' object.
        weights_sha256: of the files of weights and their configurations, a repository's too.
        kind, scheduler: names of classes.
        dtype, device: computed in.
        versions: of the libraries.
    """

    pipe: Any
    identity: PipelineIdentity
    weights_sha256: str | None
    kind: str
    scheduler: str
    dtype: str
    device: str
    versions: Mapping[str, str]


def load_pipeline(
    name: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    dtype: Dtype = "auto",
    device: str | None = None,
    scheduler: str | None = None,
    attention_slicing: bool = False,
    cpu_offload: Offload | None = None,
    trust_remote_code: bool = False,
) -> LoadedPipeline:
    """Load any text-to-image pipeline that diffusers knows.

    Args:
        name: a folder in diffusers' format, a repository on the hub, or an embedded pipeline.
        revision: branch, tag or commit on the hub.
        variant: of the files of weights, e.g. "fp16".
        dtype: to compute in; "auto" is as `dtype_on` says.
        device: "cuda" where there is one, else "cpu".
        scheduler: a class of diffusers that takes the place of the pipeline's own.
        attention_slicing: compute attention in slices and decode image by image: slower, with
            less memory.
        cpu_offload: keep on the device only the part that is computed: a whole model at a time,
            or one module at a time.
        trust_remote_code: run code that comes with the pipeline.

    Raises:
        UserError: no such pipeline, weights as pickles alone, damaged weights, code of its own,
            a scheduler that does not fit, no such device.
    """
    doing = f"loading the pipeline {name}"
    diffusers = import_extra("diffusers", doing)
    from emo_harness.activations.loading import torch_device

    place = embedded_model(name)
    where = torch_device(device, doing)
    if cpu_offload and where.type == "cpu":
        raise UserError(
            doing,
            found="CPU offload, and the CPU as device",
            expected="an accelerator whose memory is to be spared",
            fix="leave --cpu-offload out, or name an accelerator with --device",
        )
    identity = identify_pipeline(name, revision)
    if Path(place).is_dir():
        refuse_unsafe(Path(place), doing, trust_remote_code=trust_remote_code, variant=variant)
    computed = dtype_on(where, dtype)
    pipe = _pipe(diffusers, place, doing, computed, revision, variant, trust_remote_code)
    if scheduler:
        pipe.scheduler = _scheduler(diffusers, pipe, scheduler, doing)
    _place(pipe, where, cpu_offload, doing)
    if attention_slicing:
        pipe.enable_attention_slicing()
        if hasattr(getattr(pipe, "vae", None), "enable_slicing"):
            pipe.vae.enable_slicing()
    pipe.set_progress_bar_config(disable=True)
    own_scheduler = getattr(pipe, "scheduler", None)
    return LoadedPipeline(
        pipe=pipe,
        identity=identity,
        weights_sha256=identity.weights_sha256 or snapshot_sha256(place, identity.commit),
        kind=type(pipe).__name__,
        scheduler="none" if own_scheduler is None else type(own_scheduler).__name__,
        dtype=computed,
        device=str(where),
        versions=_versions(),
    )


def dtype_on(device: torch.device, dtype: Dtype) -> Dtype:
    """What is computed in: "auto" is float32 on a CPU, bfloat16 where there is one, else float16.

    Raises:
        UserError: no such dtype.
    """
    import torch

    if dtype not in DTYPES:
        raise UserError(
            "choosing what to compute in",
            found=f"dtype {dtype!r}",
            expected=f"one of {quoted(DTYPES)}",
            fix="name one",
        )
    if dtype != "auto":
        return dtype
    if device.type == "cpu":
        return "float32"
    has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported()
    return "bfloat16" if has_bfloat16 else "float16"


def _pipe(
    diffusers: ModuleType,
    place: str,
    doing: str,
    dtype: str,
    revision: str | None,
    variant: str | None,
    trust_remote_code: bool,
) -> Any:
    import torch
    from safetensors import SafetensorError

    if not sys.stderr.isatty():
        diffusers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # The name that every release before 1.0 understands.
            warnings.filterwarnings("ignore", message=".*torch_dtype.*")
            # Of diffusers' own calls of the hub.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks.*")
            return diffusers.AutoPipelineForText2Image.from_pretrained(
                place,
                torch_dtype=getattr(torch, dtype),
                revision=revision,
                variant=variant,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
            )
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            doing,
            found=f"weights that cannot be read ({first_line(error)})",
            expected="whole safetensors files that fit their configurations",
            fix="download or save the pipeline again",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise _refused(place, doing, error, variant) from error


def _refused(place: str, doing: str, error: Exception, variant: str | None) -> UserError:
    told = str(error)
    if "trust_remote_code" in told:
        return UserError(
            doing,
            found="a pipeline that brings code of its own",
            expected="a pipeline that diffusers knows",
            fix="read that code, and add --trust-remote-code if you trust it",
        )
    if "safetensors" in told and "necessary" in told:
        return pickles_alone(doing, "no safetensors", variant)
    if "AutoPipeline" in told:
        return UserError(
            doing,
            found=first_line(error),
            expected="a pipeline that makes images of texts",
            fix="choose another; a newer diffusers may know this one",
        )
    if isinstance(error, ImportError):
        return UserError(
            doing,
            found=first_line(error),
            expected="the packages that this pipeline needs",
            fix="install what is missing",
        )
    if Path(place).is_dir():
        missing = missing_parts(Path(place))
        return UserError(
            doing,
            found=f"parts missing: {quoted(missing)}" if missing else first_line(error),
            expected="a complete pipeline as diffusers' save_pretrained writes it",
            fix="save it again, with weights as safetensors",
        )
    if _is_unreachable(error):
        return UserError(
            doing,
            found="no such folder, and nothing could be fetched from the hub: offline "
            "(HF_HUB_OFFLINE), or no network; nor is it in the hub's local cache",
            expected="a local folder, or a repository that can be fetched or was fetched before",
            fix="check the path of a folder; fetch a repository where there is a network",
        )
    return UserError(
        doing,
        found=f"no such folder, and not to be had from the hub ({first_line(error)})",
        expected="a local folder or a repository on the hub",
        fix="look for a misspelt name, revision or variant; a hub needs a network, gated models "
        "a login",
    )


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether the hub was not reached, and its local cache does not have what was asked for."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    while error is not None:
        if isinstance(error, LocalEntryNotFoundError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _scheduler(diffusers: ModuleType, pipe: Any, name: str, doing: str) -> Any:
    own: Any = getattr(pipe, "scheduler", None)
    fitting = {kind.__name__: kind for kind in getattr(own, "compatibles", ())}
    if own is not None:
        fitting[type(own).__name__] = type(own)
    if len(fitting) > 1:
        fitting |= {one: getattr(diffusers, one) for one in FOR_DISTILLED}
    if name not in fitting:
        raise UserError(
            doing,
            found=f"the scheduler {name!r}{nearest(name, fitting)}",
            expected=f"one that fits {type(pipe).__name__}: {quoted(sorted(fitting), 40)}",
            fix="name one of these, or leave --scheduler out",
        )
    try:
        return fitting[name].from_config(own.config)
    except (ImportError, ValueError) as error:
        raise UserError(
            doing,
            found=f"{name} cannot be used here ({first_line(error)})",
            expected="a scheduler that works with this pipeline's settings",
            fix="install what it needs, or name another",
        ) from error


def _place(pipe: Any, device: torch.device, offload: Offload | None, doing: str) -> None:
    try:
        if offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        elif offload == "sequential":
            pipe.enable_sequential_cpu_offload(device=device)
        else:
            pipe.to(device)
    except (RuntimeError, ValueError, ImportError) as error:
        raise UserError(
            doing,
            found=f"it cannot be put on {device} ({first_line(error)})",
            expected="a device with enough memory",
            fix="use --cpu-offload model or sequential, --dtype bfloat16, or another --device",
        ) from error


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name.lower()] = version(name)
        except PackageNotFoundError:
            continue
    return found
