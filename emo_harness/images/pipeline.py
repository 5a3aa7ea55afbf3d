"""A text-to-image pipeline as a function: texts and seeds in, images or reasons out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_harness.errors import UserError, first_line
from emo_harness.images.failures import (
    NOT_FINITE,
    PIPELINE_FAILED,
    PIPELINE_REFUSED,
    SAFETY,
    why_failed,
)
from emo_harness.images.further_arguments import OWN, Argument, further_arguments
from emo_harness.images.pipeline_loading import LoadedPipeline

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

# Of names that mean the same in different pipelines, the first that has a value of its own.
STEPS = ("num_inference_steps", "prior_num_inference_steps")
GUIDANCE = ("guidance_scale", "prior_guidance_scale", "true_cfg_scale")
VERDICTS = ("nsfw_content_detected", "nsfw_detected")
# What pipelines raise where computing fails, and where they were not asked as they want to be.
_FAILS = (RuntimeError, ArithmeticError, OSError)
_REFUSES = (ValueError, TypeError, AttributeError, LookupError, AssertionError)


@dataclass(frozen=True)
class Wanted:
    """An image to be made."""

    prompt: str
    negative_prompt: str | None
    seed: int


@dataclass(frozen=True)
class Made:
    """An image, RGB; or why there is none."""

    image: PILImage | None
    failure: str | None = None


@dataclass(frozen=True)
class CallSettings:
    """How a pipeline is called; None leaves its own default.

    Attributes:
        steps: of denoising.
        guidance: scale of classifier-free guidance, or what the pipeline has in its place.
        size: (width, height) in pixels.
        arguments: further ones of the pipeline's call.
    """

    steps: int | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    arguments: Mapping[str, Argument] = field(default_factory=dict)


class TextToImage:
    """A pipeline with its settings.

    Attributes:
        loaded: the pipeline.
        steps, guidance: that are used; None where the pipeline decides and does not say.
        arguments: further ones of the call.
        takes_negative: whether it can be told what not to show.
        remarks: what the user should know of how images are made.

    Raises:
        UserError: the pipeline does not have what is set.
    """

    def __init__(self, loaded: LoadedPipeline, settings: CallSettings) -> None:
        self.loaded = loaded
        self.remarks: list[str] = []
        self._pipe = loaded.pipe
        self._parameters = inspect.signature(type(loaded.pipe).__call__).parameters
        self._doing = f"making images with {loaded.kind} of {loaded.identity.model}"
        self.takes_negative = "negative_prompt" in self._parameters
        self._own = dict(OWN)
        self.steps, steps = self._setting("--steps", STEPS, settings.steps)
        self.guidance, guidance = self._setting("--guidance", GUIDANCE, settings.guidance)
        self.arguments = further_arguments(
            settings.arguments, self._parameters, self._own, self._doing
        )
        self._given = {**steps, **guidance, **self._sized(settings.size), **self.arguments}
        self._one_by_one = False
        self._has_told_negative = False

    def make(self, wanted: Sequence[Wanted]) -> list[Made]:
        """Make images, in one batch.

        Each has a generator on the CPU, seeded by its own seed: its noise depends on nothing else.
        What a pipeline draws from torch's global generator would depend on the batch; where that
        happens, images are made one by one, with the global generator seeded too.

        Where a batch fails, its images are made one by one too, so that one takes no other with it.

        Args:
            wanted: all with a negative prompt, or none.

        Raises:
            UserError: the pipeline gives something else than an image for each text.
            torch.OutOfMemoryError, MemoryError: the batch is too large.
        """
        import torch

        self._remark_negative(wanted[0].negative_prompt)
        if self._one_by_one and len(wanted) > 1:
            return [made for one in wanted for made in self.make([one])]
        try:
            with _own_noise(wanted[0].seed, self.loaded.device) as is_used:
                output = self._pipe(**self._call(wanted))
                drew_globally = is_used()
        except torch.OutOfMemoryError:
            raise
        except (*_FAILS, *_REFUSES) as error:
            if len(wanted) > 1:
                return [made for one in wanted for made in self.make([one])]
            what = PIPELINE_FAILED if isinstance(error, _FAILS) else PIPELINE_REFUSED
            return [Made(None, f"{what}: {_told(error)}")]
        if drew_globally and len(wanted) > 1:
            self._one_by_one = True
            self.remarks.append(
                f"{self.loaded.kind} with {self.loaded.scheduler} draws noise that belongs to no "
                "image; each is made alone, so that it depends on its own seed only"
            )
            return self.make(wanted)
        return self._read(output, len(wanted))

    def negative_of(self, prompt: str | None) -> str | None:
        """A recipe's negative prompt as it is given to this pipeline."""
        return prompt if self.takes_negative else None

    def _remark_negative(self, prompt: str | None) -> None:
        if prompt is None or self._has_told_negative:
            return
        self._has_told_negative = True
        kind = self.loaded.kind
        true_cfg = self._parameters.get("true_cfg_scale")
        scale = self._given.get("true_cfg_scale", true_cfg.default) if true_cfg else self.guidance
        if not self.takes_negative:
            self.remarks.append(f"{kind} takes no negative prompt: the recipe's is left out")
        elif scale is not None and scale <= 1:
            how = "--set true_cfg_scale=4" if true_cfg else "--guidance above 1"
            self.remarks.append(
                f"the recipe's negative prompt has no effect without guidance ({how})"
            )

    def _call(self, wanted: Sequence[Wanted]) -> dict[str, Any]:
        import torch

        call: dict[str, Any] = {
            **self._given,
            "prompt": [one.prompt for one in wanted],
            "generator": [torch.Generator("cpu").manual_seed(one.seed) for one in wanted],
        }
        if self.takes_negative and wanted[0].negative_prompt is not None:
            call["negative_prompt"] = [one.negative_prompt or "" for one in wanted]
        if "output_type" in self._parameters:
            # Numbers rather than levels: among levels NaN could not be told from black.
            call["output_type"] = "np"
        return call

    def _read(self, output: Any, n: int) -> list[Made]:
        images = getattr(output, "images", None)
        if images is None or len(images) != n:
            raise UserError(
                self._doing,
                found="no images" if images is None else f"{len(images)} images for {n}",
                expected="one image for each text",
                fix="choose a pipeline that makes images of texts",
            )
        verdicts: Any = next((v for name in VERDICTS if (v := getattr(output, name, None))), [])
        flagged = [bool(verdict) for verdict in verdicts] or [False] * n
        return [
            Made(None, SAFETY) if bad else _made(pixels)
            for pixels, bad in zip(images, flagged, strict=True)
        ]

    def _setting(self, option: str, names: Sequence[str], value: Any) -> tuple[Any, dict[str, Any]]:
        """The value that is used, and what is given to the pipeline for it."""
        known = [name for name in names if name in self._parameters]
        defaults = {name: self._parameters[name].default for name in known}
        name = next((one for one in known if defaults[one] is not None), next(iter(known), None))
        if name is not None:
            self._own[name] = option
        if value is None:
            default = defaults.get(name) if name else None
            return (default if isinstance(default, int | float) else None), {}
        if name is None:
            raise UserError(
                self._doing,
                found=f"{option} {value}",
                expected=f"settings that {self.loaded.kind} has",
                fix=f"leave {option} out",
            )
        return value, {name: value}

    def _sized(self, size: tuple[int, int] | None) -> dict[str, Any]:
        if size is None:
            return {}
        if not {"width", "height"} <= set(self._parameters):
            raise UserError(
                self._doing,
                found=f"a size of {size[0]} x {size[1]} pixels",
                expected=f"the one size that {self.loaded.kind} has",
                fix="leave the size out, in the recipe too",
            )
        return {"width": size[0], "height": size[1]}


@contextmanager
def _own_noise(seed: int, device: str) -> Iterator[Any]:
    """Seed torch's global generators and put them back; yields whether they were drawn from."""
    import torch

    on_cuda = [torch.device(device)] if device.startswith("cuda") else []

    def states() -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(one) for one in on_cuda)]

    with torch.random.fork_rng(devices=on_cuda):
        torch.default_generator.manual_seed(seed)
        for one in on_cuda:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        before = states()
        yield lambda: any(
            not torch.equal(old, new) for old, new in zip(before, states(), strict=True)
        )


def _made(pixels: Any) -> Made:
    """An image from what a pipeline gave for it.

    Args:
        pixels: a PIL image, or (height, width, channels) in 0 to 1.
    """
    from PIL import Image

    if isinstance(pixels, Image.Image):
        image = pixels.convert("RGB")
    else:
        values = _as_array(pixels)
        if not np.isfinite(values).all():
            return Made(None, NOT_FINITE)
        # As diffusers itself rounds.
        levels = (values.clip(0, 1) * 255).round().astype(np.uint8)
        image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
        image = image.convert("RGB")
    failure = why_failed(np.asarray(image))
    return Made(None, failure) if failure else Made(image)


def _as_array(pixels: Any) -> NDArray[np.floating[Any]]:
    import torch

    if isinstance(pixels, torch.Tensor):
        return pixels.float().cpu().permute(1, 2, 0).numpy()
    return np.asarray(pixels)


def _told(error: Exception) -> str:
    """Its first line, behind its kind where the line alone would say little."""
    kind = type(error).__name__
    line = first_line(error)
    return line if line == kind or isinstance(error, RuntimeError) else f"{kind}: {line}"
