"""What checking a set costs beside a plain loop over open_clip: the part `check` of `images.py`.

    python perf/image_check.py

A random ViT of a realistic share of work per image, as a local folder, on a set of PNGs of
photographic detail, at the same batch size. `loop` opens an image with PIL, applies open_clip's
own transform, stacks a batch and encodes it, on one thread of Python. `encode` is what `emo images
check` does to get the same vectors: the same files through the guarded reader (its budget, its
hash), decoded on threads while the encoder is at work. `check` is all that the command does with an
image: facts, perceptual hash and thumbnail too. The three take turns, in turning order, on the
same files; a ratio is the median over rounds of images per second by those of the loop in the
same round, so above 1 is faster than the loop. The vectors must agree.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

N_IMAGES = 96
SIDE = 512
BATCH = 16
ROUNDS = 5
MODEL = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 224, "layers": 6, "width": 384, "patch_size": 32},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 1,
    },
}


def measure(rounds: int = ROUNDS, n_images: int = N_IMAGES) -> dict[str, Any]:
    """Images per second of the three ways, and ratios to the loop."""
    from emo_harness.images import load_image_set
    from emo_harness.images.clip_encoder import load_clip_encoder
    from emo_harness.images.decoding_ahead import n_workers
    from emo_harness.images.measured import encoded_images, measured_images

    with tempfile.TemporaryDirectory(prefix="emo-perf-") as scratch:
        images = load_image_set(made_set(Path(scratch) / "set", n_images))
        encoder = load_clip_encoder(f"local-dir:{made_model(Path(scratch) / 'clip')}", "cpu")
        paths = [images.path(entry) for entry in images.entries]
        ways: dict[str, Callable[[], np.ndarray]] = {
            "loop": lambda: plain_loop(encoder, paths),
            "encode": lambda: encoded_images(images, encoder, BATCH),
            "check": lambda: measured_images(images, [encoder], BATCH).vectors[0],
        }
        vectors = {name: way() for name, way in ways.items()}
        apart = max(float(np.abs(vectors["loop"] - found).max()) for found in vectors.values())
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            order = [*ways][number % 3 :] + [*ways][: number % 3]
            for name in order:
                started = time.perf_counter()
                ways[name]()
                speeds[name].append(n_images / (time.perf_counter() - started))
    ratios = {
        name: statistics.median(
            mine / loop for mine, loop in zip(speeds[name], speeds["loop"], strict=True)
        )
        for name in ("encode", "check")
    }
    return {
        "images": n_images,
        "side_px": SIDE,
        "batch_size": BATCH,
        "rounds": rounds,
        "threads_of_torch": _torch_threads(),
        "decoding_threads": n_workers(),
        "images_per_s": {name: round(statistics.median(one), 1) for name, one in speeds.items()},
        "ratio": {name: round(one, 3) for name, one in ratios.items()},
        "largest_difference": apart,
    }


def plain_loop(encoder: Any, paths: list[Path]) -> np.ndarray:
    """As one would write it: open, transform, stack, encode."""
    import torch
    from PIL import Image

    found = []
    with torch.inference_mode():
        for start in range(0, len(paths), BATCH):
            opened = [Image.open(path).convert("RGB") for path in paths[start : start + BATCH]]
            batch = torch.stack([encoder.transform(image) for image in opened])
            found.append(encoder.model.encode_image(batch, normalize=True).numpy())
    return np.concatenate(found)


def made_set(folder: Path, n_images: int) -> Path:
    """Images with as much detail at each scale as photographs have (amplitude 1 / frequency)."""
    from PIL import Image

    from emo_harness.images import ImageEntry, Imported, pixels_sha256, write_manifest

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    across = np.fft.fftfreq(SIDE)
    falling = 1 / np.maximum(np.hypot(across[:, None], across[None]), 1 / SIDE)
    entries = []
    for number in range(n_images):
        noise = np.fft.fft2(rng.normal(size=(3, SIDE, SIDE))) * falling
        field = np.fft.ifft2(noise).real
        field = (field - field.mean()) / field.std()
        pixels = np.clip(128 + 50 * field, 0, 255).astype(np.uint8)
        image = Image.fromarray(np.moveaxis(pixels, 0, 2).copy())
        image.save(folder / f"made-{number}.png")
        entries.append(
            ImageEntry(
                id=f"made-{number}",
                file=f"made-{number}.png",
                family="prompt",
                concept=f"thing-{number % 4}",
                sha256=pixels_sha256(image),
                width=SIDE,
                height=SIDE,
                made=Imported(original="made", source="made"),
            )
        )
    write_manifest(folder, entries)
    return folder


def made_model(folder: Path) -> Path:
    import copy

    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = open_clip.CLIP(**copy.deepcopy(MODEL))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    told = {"model_cfg": MODEL, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(told), "utf-8")
    return folder


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


if __name__ == "__main__":
    print(json.dumps({"benchmark": "image_check", **measure()}))
