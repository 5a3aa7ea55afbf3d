"""What encoding and computing images once saves; `perf/images.py` prints it.

A random LLaVA of realistic proportions (a vision tower of about a third of a prompt's cost, 576
image tokens) answers 25 arms x 20 questions, image first, on one thread: short generations with
lm-eval's `hf-multimodal` and with `emo-vlm`, and multiple choice with `emo-vlm`, sharing off and
on.

What takes the same time for every request (`hf-multimodal`, sharing off) is asked slices of the
requests, before, between and after the whole of what shares; `ratio` compares seconds per request.
`bound` is what the model's multiplications allow.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIDE, PATCH = 336, 14
IMAGE_TOKENS = (SIDE // PATCH) ** 2
WORDS = 4000
SPECIAL = ("<s>", "</s>", "<image>")
BATCH_SIZES = (1, 8)
OPTIONS = 4


@dataclass(frozen=True)
class Sizes:
    """How much is asked, and of how large a model.

    Attributes:
        text_tokens: the most words of a question; the fewest are three quarters of it.
        max_tokens: of a generation.
        rounds: how often what shares is asked everything.
        slice: requests that the others are asked between, each time.
        width, layers: of the language model; the vision tower has three quarters of the width.
    """

    arms: int = 25
    questions: int = 20
    text_tokens: int = 120
    max_tokens: int = 4
    rounds: int = 2
    slice: int = 16
    width: int = 256
    layers: int = 6


def measure(sizes: Sizes | None = None) -> dict[str, Any]:
    """Both comparisons; see the module."""
    import torch

    sizes = sizes or Sizes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            make_model(Path(folder), sizes)
            return {
                **asdict(sizes),
                "threads": 1,
                "image_tokens": IMAGE_TOKENS,
                "vision_share": round(vision_share(sizes), 3),
                "generation": generation(Path(folder), sizes),
                "options": options(Path(folder), sizes),
            }
    finally:
        torch.set_num_threads(threads)


def generation(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Short generations: `hf-multimodal` at the better of two batch sizes, and `emo-vlm`."""
    from lm_eval.models.hf_vlms import HFMultimodalLM

    asked = generations(sizes)
    theirs = loaded(HFMultimodalLM, folder)

    def answers(lm: Any, some: list[Any]) -> tuple[list[Any], float]:
        return timed(lm.generate_until, some)

    trials = {}
    for size in BATCH_SIZES:
        theirs.batch_size_per_gpu = size
        trials[size] = answers(theirs, asked[: max(BATCH_SIZES)])[1]
    theirs.batch_size_per_gpu = min(trials, key=trials.__getitem__)
    line = compared(
        lambda some: answers(theirs, some), lambda: fresh(folder, answers, asked), asked, sizes
    )
    line["hf_batch_size"] = theirs.batch_size_per_gpu
    line["differing"] = sum(a != b for a, b in line.pop("pairs"))
    line["bound"] = round(bound(sizes, sizes.max_tokens - 1), 2)
    return line


def options(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Multiple choice: `emo-vlm` with sharing off and on."""
    asked = choices(sizes)
    alone = loaded(ours_class(), folder, share=False)

    def answers(lm: Any, some: list[Any]) -> tuple[list[Any], float]:
        return timed(lm.loglikelihood, some)

    line = compared(
        lambda some: answers(alone, some), lambda: fresh(folder, answers, asked), asked, sizes
    )
    pairs = line.pop("pairs")
    line["largest_difference"] = max(abs(a[0] - b[0]) for a, b in pairs)
    line["differing"] = sum(a[1] != b[1] for a, b in pairs)
    line["bound"] = round(bound(sizes, 0, OPTIONS), 2)
    return line


def fresh(folder: Path, answers: Any, asked: list[Any]) -> tuple[list[Any], float, Any]:
    """Everything asked of an `emo-vlm` that has seen no image yet."""
    lm = loaded(ours_class(), folder)
    found, seconds = answers(lm, asked)
    return found, seconds, lm.sharing.as_json()


def compared(theirs: Any, ours: Any, asked: list[Any], sizes: Sizes) -> dict[str, Any]:
    """Slices of one side before, between and after the whole of the other."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(asked)).tolist()
    slices = [order[i * sizes.slice : (i + 1) * sizes.slice] for i in range(sizes.rounds + 1)]
    per_request: list[float] = []
    wholes: list[float] = []
    pairs: list[tuple[Any, Any]] = []
    sharing: dict[str, Any] = {}
    own: list[Any] = []
    seen: list[tuple[int, Any]] = []
    theirs([asked[place] for place in slices[0][:2]])
    for turn, places in enumerate(slices):
        found, seconds = theirs([asked[place] for place in places])
        per_request.append(seconds / len(places))
        seen += zip(places, found, strict=True)
        if turn < sizes.rounds:
            own, seconds, sharing = ours()
            wholes.append(seconds)
    pairs = [(own[place], answer) for place, answer in seen]
    whole = float(np.mean(per_request)) * len(asked)
    return {
        "requests": len(asked),
        "theirs_s": round(whole, 2),
        "theirs_asked": len(seen),
        "ours_s": round(float(np.mean(wholes)), 2),
        "ratio": round(whole / float(np.mean(wholes)), 2),
        "naive_tokens": sharing["naive_tokens"],
        "computed_tokens": sharing["computed_tokens"],
        "model_s": sharing["model_s"],
        "pairs": pairs,
    }


def vision_share(sizes: Sizes) -> float:
    """The vision tower's share of the multiplications that a prompt takes."""
    tower, text = costs(sizes)
    prompt = text * (IMAGE_TOKENS + sizes.text_tokens)
    return tower / (tower + prompt)


def bound(sizes: Sizes, generated: int, n_options: int = 1) -> float:
    """Multiplications without sharing by those with it.

    Alone, every request of n options costs the tower, the image's tokens and its text; shared, an
    image costs the tower and its tokens once for all questions, and a text once for its options.
    """
    tower, text = costs(sizes)
    n_text = 7 / 8 * sizes.text_tokens + generated
    alone = n_options * (tower + text * (IMAGE_TOKENS + n_text))
    return alone / ((tower + text * IMAGE_TOKENS) / sizes.questions + text * n_text)


def costs(sizes: Sizes) -> tuple[float, float]:
    """Multiplications of the tower for an image, and of a token of the language model.

    Those of weights, and of attention where 576 tokens are seen.
    """
    width = _vision_width(sizes)
    seen = IMAGE_TOKENS + 1
    tower = seen * sizes.layers * (12 * width**2 + 2 * seen * width)
    text = sizes.layers * (
        4 * sizes.width**2 + 3 * sizes.width * _inner(sizes) + IMAGE_TOKENS * sizes.width
    )
    return tower, text


def _vision_width(sizes: Sizes) -> int:
    return sizes.width * 3 // 4


def _inner(sizes: Sizes) -> int:
    return sizes.width * 11 // 4


def make_model(folder: Path, sizes: Sizes) -> None:
    """A random LLaVA with its processor, and a tokenizer of words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    listed = [*SPECIAL, *(f"w{i}" for i in range(WORDS))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(listed)}, "</s>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens([*SPECIAL])
    begin, end, image = SPECIAL
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=begin, eos_token=end, pad_token=end
    )
    size = {"height": SIDE, "width": SIDE}
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size),
        words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    width = _vision_width(sizes)
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(
            vocab_size=len(listed),
            hidden_size=sizes.width,
            intermediate_size=_inner(sizes),
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.width // 32,
            num_key_value_heads=sizes.width // 32,
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        ),
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=width // 32,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        # The last layer but one is read: all layers are computed.
        image_token_id=SPECIAL.index(image),
    )
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)


def ours_class() -> Any:
    from emo_harness.lm_models.vision_language import VisionLanguageLM

    return VisionLanguageLM


def loaded(kind: Any, folder: Path, **arguments: Any) -> Any:
    return kind(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1, **arguments)


def timed(ask: Any, some: list[Any]) -> tuple[list[Any], float]:
    started = time.perf_counter()
    found = ask(some, disable_tqdm=True)
    return found, time.perf_counter() - started


def generations(sizes: Sizes) -> list[Any]:
    settings = {"until": ["</s>"], "max_gen_toks": sizes.max_tokens, "do_sample": False}
    return [
        _request("generate_until", (text, dict(settings), shown), doc_id)
        for doc_id, text, shown in prompts(sizes)
    ]


def choices(sizes: Sizes) -> list[Any]:
    return [
        _request("loglikelihood", (text, f" w{number}", shown), doc_id)
        for doc_id, text, shown in prompts(sizes)
        for number in range(OPTIONS)
    ]


def _request(kind: str, arguments: tuple[Any, ...], doc_id: int) -> Any:
    from lm_eval.api.instance import Instance

    return Instance(kind, {}, arguments, 0, metadata=("made_up", doc_id, 1))  # type: ignore[arg-type]


def prompts(sizes: Sizes) -> list[tuple[int, str, dict[str, Any]]]:
    """Questions of random words, each under every arm's image."""
    from PIL import Image

    rng = np.random.default_rng(1)
    images = []
    for _ in range(sizes.arms):
        cells = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        images.append(Image.fromarray(cells).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    found = []
    for question in range(sizes.questions):
        n_words = int(rng.integers(3 * sizes.text_tokens // 4, sizes.text_tokens + 1))
        text = " ".join(f"w{word}" for word in rng.integers(0, WORDS, n_words))
        found += [(question, f"<image>\n{text}", {"visual": [one]}) for one in images]
    return found
