"""Pipelines of several families, called as they are: seeds, refusals, failures, safe loading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.images.failures import (
    CONSTANT,
    NOT_FINITE,
    PIPELINE_FAILED,
    PIPELINE_REFUSED,
    SAFETY,
)
from emo_harness.images.pipeline import CallSettings, TextToImage, Wanted
from emo_harness.images.pipeline_files import identify_pipeline
from emo_harness.images.pipeline_loading import LoadedPipeline, load_pipeline
from tests.images import tiny_pipelines

pytest.importorskip("diffusers")

SIDE = tiny_pipelines.SIDE
FAMILIES = ("stable_diffusion", "flux", "pixart")
# A batch is one matrix product, whose sums come in another order: a level at most, in few pixels.
MOST_LEVELS = 1
MOST_SHARE = 1e-3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pipelines")
    return {name: getattr(tiny_pipelines, f"save_{name}")(place / name) for name in FAMILIES}


def text_to_image(folder: Path, scheduler: str | None = None, **settings: Any) -> TextToImage:
    given = {"steps": 2, "size": (SIDE, SIDE), **settings}
    return TextToImage(load_pipeline(str(folder), scheduler=scheduler), CallSettings(**given))


WANTED = tuple(
    Wanted("a dark house in a storm" + ", an old man" * (i % 2), "smile", 100 + i) for i in range(4)
)


def levels(pipeline: TextToImage, wanted: Sequence[Wanted]) -> list[np.ndarray[Any, Any]]:
    found = [np.asarray(one.image) for one in pipeline.make(wanted)]
    return [one.astype(int) for one in found]


@pytest.mark.parametrize(
    ("family", "scheduler"),
    [
        ("stable_diffusion", None),
        ("stable_diffusion", "EulerAncestralDiscreteScheduler"),
        ("stable_diffusion", "LCMScheduler"),
        ("flux", None),
        ("pixart", None),
    ],
)
def test_an_image_depends_on_its_own_seed_and_text_alone(
    folders: dict[str, Path], family: str, scheduler: str | None
) -> None:
    pipeline = text_to_image(folders[family], scheduler)
    alone = [levels(pipeline, [one])[0] for one in WANTED[:3]]
    together = levels(pipeline, WANTED[:3])
    reversed_order = levels(pipeline, WANTED[:3][::-1])[::-1]
    for one, *others in zip(alone, together, reversed_order, strict=True):
        for other in others:
            assert np.abs(one - other).max() <= MOST_LEVELS
            assert (one != other).mean() <= MOST_SHARE
    assert np.array_equal(alone[0], levels(pipeline, WANTED[:1])[0])
    assert np.abs(alone[0] - alone[2]).max() > 50


def test_an_image_is_what_diffusers_itself_makes(folders: dict[str, Path]) -> None:
    import torch
    from diffusers import AutoPipelineForText2Image

    plain = AutoPipelineForText2Image.from_pretrained(folders["stable_diffusion"])
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        prompt=WANTED[0].prompt,
        negative_prompt="smile",
        num_inference_steps=2,
        guidance_scale=4.0,
        width=SIDE,
        height=SIDE,
        generator=torch.Generator("cpu").manual_seed(WANTED[0].seed),
    ).images[0]
    ours = levels(text_to_image(folders["stable_diffusion"], guidance=4.0), WANTED[:1])[0]
    assert np.array_equal(ours, np.asarray(theirs.convert("RGB")))


def test_settings_are_known_and_unknown_ones_refused(folders: dict[str, Path]) -> None:
    loaded = load_pipeline(str(folders["stable_diffusion"]))
    own = TextToImage(loaded, CallSettings())
    assert (own.steps, own.guidance) == (50, 7.5)
    assert loaded.scheduler == "DDIMScheduler" and loaded.dtype == "float32"
    assert loaded.versions["diffusers"] and loaded.weights_sha256
    with pytest.raises(UserError, match="guidance_rescale"):
        TextToImage(loaded, CallSettings(arguments={"guidance_rescal": 0.5}))
    for name, told in {
        "guidance_scale": "--guidance",
        "num_inference_steps": "--steps",
        "height": "--size",
        "prompt": "the recipe's `prompt`",
        "latents": "leave it out",
        "num_images_per_prompt": "leave it out",
        "return_dict": "leave it out",
        "callback_on_step_end": "leave it out",
    }.items():
        with pytest.raises(UserError, match=f"--set {name}=1") as error:
            TextToImage(loaded, CallSettings(arguments={name: 1}))
        assert told in error.value.fix
        assert not {name, "generator"} & set(error.value.expected.split(", "))
    odd = TextToImage(loaded, CallSettings(size=(33, 33), steps=1)).make(WANTED[:2])
    assert all(str(one.failure).startswith(PIPELINE_REFUSED) for one in odd)
    with pytest.raises(UserError, match="nearest: 'EulerDiscreteScheduler'"):
        load_pipeline(str(folders["stable_diffusion"]), scheduler="EulerDiscreteSchedular")


def test_a_negative_prompt_without_effect_is_told(folders: dict[str, Path]) -> None:
    flux = text_to_image(folders["flux"])
    flux.make(WANTED[:1])
    assert "true_cfg_scale" in flux.remarks[0]
    turbo = text_to_image(folders["stable_diffusion"], guidance=0.0)
    turbo.make(WANTED[:1])
    turbo.make(WANTED[:1])
    assert len(turbo.remarks) == 1 and "no effect" in turbo.remarks[0]


def test_weights_as_pickles_alone_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for part, pickle in (
        ("unet", "diffusion_pytorch_model.bin"),
        ("text_encoder", "pytorch_model.bin"),
    ):
        folder = tmp_path / part
        shutil.copytree(folders["stable_diffusion"], folder)
        for weights in (folder / part).glob("*.safetensors"):
            weights.rename(weights.with_name(pickle))
        with pytest.raises(UserError, match="as pickles alone"):
            load_pipeline(str(folder))


def test_code_of_its_own_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    code = f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass Own: pass\n"
    part = tmp_path / "part"
    shutil.copytree(folders["stable_diffusion"], part)
    (part / "unet" / "own.py").write_text(code)
    index = json.loads((part / "model_index.json").read_text())
    (part / "model_index.json").write_text(json.dumps(index | {"unet": ["own", "Own"]}))
    whole = tmp_path / "whole"
    shutil.copytree(folders["stable_diffusion"], whole)
    (whole / "own.py").write_text(code)
    (whole / "model_index.json").write_text(json.dumps(index | {"_class_name": ["own", "Own"]}))
    module = tmp_path / "module"
    shutil.copytree(folders["stable_diffusion"], module)
    (module / "model_index.json").write_text(json.dumps(index | {"unet": ["antigravity", "fly"]}))
    for folder in (part, whole, module):
        with pytest.raises(UserError, match="--trust-remote-code"):
            load_pipeline(str(folder))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), r"no model_index\.json"),
        (lambda folder: (folder / "model_index.json").write_text("["), "cannot be read"),
        (lambda folder: shutil.rmtree(folder / "vae"), "parts missing: vae"),
        (lambda folder: halve(folder / "unet" / "diffusion_pytorch_model.safetensors"), "weights"),
    ],
)
def test_incomplete_pipelines_are_told(
    folders: dict[str, Path], tmp_path: Path, damage: Any, told: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(folders["stable_diffusion"], folder)
    damage(folder)
    with pytest.raises(UserError, match=told):
        load_pipeline(str(folder))


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_copy_is_the_same_pipeline_and_other_weights_are_not(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / "stable_diffusion"
    shutil.copytree(folders["stable_diffusion"], copy)
    assert identify_pipeline(str(copy)) == identify_pipeline(str(folders["stable_diffusion"]))
    scheduler = copy / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.02", "0.03"))
    other = identify_pipeline(str(copy))
    assert (
        other.weights_sha256 == identify_pipeline(str(folders["stable_diffusion"])).weights_sha256
    )
    assert other.parts_sha256 != identify_pipeline(str(folders["stable_diffusion"])).parts_sha256
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert identify_pipeline(str(copy)).weights_sha256 != other.weights_sha256


def test_weights_are_known_to_the_last_byte_however_large(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    shutil.copytree(folders["stable_diffusion"], folder)
    large = folder / "unet" / "large.safetensors"
    found = set()
    for place in (0, 1_100_000, 20_000_001, 40_000_000):
        with large.open("wb") as file:
            file.seek(place)
            file.write(b"\x01")
            file.truncate(41_000_000)
        found.add(identify_pipeline(str(folder)).weights_sha256)
    assert len(found) == 4


def test_no_such_pipeline_device_or_memory_saver() -> None:
    with pytest.raises(UserError, match="nothing could be fetched from the hub: offline"):
        load_pipeline("nobody/nothing-of-this-name")
    with pytest.raises(UserError, match="no device"):
        load_pipeline("nobody/nothing", device="abacus")
    with pytest.raises(UserError, match="CPU offload"):
        load_pipeline("nobody/nothing", device="cpu", cpu_offload="model")


class FakePipe:
    """A pipeline that answers with what a function gives for each text and seed."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __call__(
        self, prompt: Any, generator: Any, num_inference_steps: int = 3, output_type: str = "pil"
    ) -> Any:
        assert output_type == "np"
        return self._answer(prompt, [one.initial_seed() for one in generator])


def fake(answer: Any) -> TextToImage:
    identity = identify_pipeline("nobody/nothing")
    loaded = LoadedPipeline(FakePipe(answer), identity, None, "Fake", "None", "float32", "cpu", {})
    return TextToImage(loaded, CallSettings())


def noise(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random((8, 8, 3), dtype=np.float32)


def test_what_is_no_image_is_told_apart_within_a_batch() -> None:
    def answer(prompts: list[str], seeds: list[int]) -> Any:
        pixels = np.stack([noise(seed) for seed in seeds])
        pixels[1, 2, 3] = np.nan
        pixels[2] = 0.5
        flags = [prompt == "nude" for prompt in prompts]
        return SimpleNamespace(images=pixels, nsfw_content_detected=flags)

    texts = ("fine", "nan", "grey", "nude", "fine")
    made = fake(answer).make([Wanted(text, None, i) for i, text in enumerate(texts)])
    assert [one.failure for one in made] == [None, NOT_FINITE, CONSTANT, SAFETY, None]
    assert [one.image is None for one in made] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("decoding failed\nand more"), f"{PIPELINE_FAILED}: decoding failed"),
        (OSError("no file"), f"{PIPELINE_FAILED}: OSError: no file"),
        (ZeroDivisionError("by zero"), f"{PIPELINE_FAILED}: ZeroDivisionError: by zero"),
        (ValueError("too long"), f"{PIPELINE_REFUSED}: ValueError: too long"),
        (TypeError("no number"), f"{PIPELINE_REFUSED}: TypeError: no number"),
        (AttributeError("shape"), f"{PIPELINE_REFUSED}: AttributeError: shape"),
        (IndexError("99"), f"{PIPELINE_REFUSED}: IndexError: 99"),
        (KeyError("scale"), f"{PIPELINE_REFUSED}: KeyError: 'scale'"),
        (AssertionError(), f"{PIPELINE_REFUSED}: AssertionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_that_breaks_a_batch_does_not_take_the_others_with_it(
    error: Exception, told: str
) -> None:
    def answer(prompts: list[str], seeds: list[int]) -> Any:
        if "broken" in prompts:
            raise error
        return SimpleNamespace(images=np.stack([noise(seed) for seed in seeds]))

    texts = ("fine", "broken", "fine")
    made = fake(answer).make([Wanted(text, None, i) for i, text in enumerate(texts)])
    assert [one.failure for one in made] == [None, told, None]


def test_noise_of_the_global_generator_is_the_images_own_too() -> None:
    import torch

    def answer(prompts: list[str], seeds: list[int]) -> Any:
        return SimpleNamespace(images=torch.rand(len(seeds), 8, 8, 3).numpy())

    wanted = [Wanted("a", None, i) for i in range(3)]
    state = torch.get_rng_state()
    pipeline = fake(answer)
    together = levels(pipeline, wanted)
    alone = [levels(fake(answer), [one])[0] for one in wanted]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert not np.array_equal(together[0], together[1])
    assert "each is made alone" in pipeline.remarks[0]
    assert torch.equal(state, torch.get_rng_state())


def test_a_pipeline_that_gives_no_images_is_refused() -> None:
    with pytest.raises(UserError, match="no images"):
        fake(lambda prompts, seeds: SimpleNamespace(frames=[])).make(WANTED[:1])
