"""Random vision-language models with processor and tokenizer in local folders, and images.

Small as they are, each has what sets its architecture apart: LLaVA fixed image sizes, Qwen2-VL and
2.5 sizes that vary and rotations in three dimensions, Idefics3 tiles with words between them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from PIL import Image
from tokenizers import AddedToken

from tests.lm_models.local_models import CORPUS, byte_tokenizer
from tests.prefix.tiny_models import randomised

KINDS = ("llava", "qwen2_vl", "idefics3")
POSITIONS = 512
N_WORDS = 340
# The same for all: an image that they take as it is.
SIDE = 24
_LLAVA = ("<image>",)
_QWEN = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
_IDEFICS = (
    "<image>",
    "<fake_token_around_image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)),
)
_IMAGE_OF = {
    "llava": "<image>\n",
    "qwen": "<|vision_start|><|image_pad|><|vision_end|>",
    "idefics": "<image>",
}
_CLIP: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}
_SIZES = {"size": {"height": SIDE, "width": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}


def chat_template(image: str) -> str:
    """A template of messages whose content is a string, or parts of text and images."""
    return (
        "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' %}"
        f"{{{{ {image!r} }}}}"
        "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )


def built(kind: str, seed: int = 0, **text: Any) -> tuple[Any, Any]:
    """A model and its processor.

    Args:
        kind: one of `KINDS`, or "qwen2_5_vl".
        seed: of the weights.
        text: changes to the language model's configuration.
    """
    processor = _PROCESSORS[kind]()
    words = processor.tokenizer
    config = _CONFIGS[kind](_text_widths(words, text), words)
    family = type(config).__name__.removesuffix("Config")
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config).eval()
    model.generation_config.pad_token_id = words.pad_token_id
    return randomised(model, seed), processor


def saved(folder: Path, kind: str, seed: int = 0, **text: Any) -> Path:
    """Put a model, its processor and its tokenizer into a folder, as from a hub; see `built`."""
    for part in built(kind, seed, **text):
        part.save_pretrained(folder)
    return folder


def random_image(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """An RGB image of coarse noise, another one for every seed."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (max(1, height // 4), max(1, width // 4), 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST)


def _words(special: tuple[str, ...], image: str) -> Any:
    tokens = byte_tokenizer(CORPUS, N_WORDS)
    tokens.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=chat_template(image),
        model_max_length=10**6,
    )


def _text_widths(words: Any, changes: dict[str, Any]) -> dict[str, Any]:
    return {
        # More rows than words, as in models from a hub.
        "vocab_size": len(words) + 5,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "tie_word_embeddings": False,
        **changes,
    }


def _llava_processor() -> Any:
    image = _IMAGE_OF["llava"]
    return transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=_SIZES["size"]),
        _words(_LLAVA, image),
        patch_size=_CLIP["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template(image),
    )


def _llava_config(text: dict[str, Any], words: Any) -> Any:
    return transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**text),
        vision_config=transformers.CLIPVisionConfig(**_CLIP),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )


def _qwen_processor() -> Any:
    image = _IMAGE_OF["qwen"]
    sizes = {"shortest_edge": 8 * 8, "longest_edge": 40 * 40}
    return transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(patch_size=4, size=sizes),
        _words(_QWEN, image),
        transformers.Qwen2VLVideoProcessor(patch_size=4, size=sizes),
        chat_template=chat_template(image),
    )


def _qwen_config(kind: str, vision: dict[str, Any]) -> Callable[[dict[str, Any], Any], Any]:
    def config(text: dict[str, Any], words: Any) -> Any:
        rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
        shape = {"depth": 2, "num_heads": 2, "patch_size": 4, "temporal_patch_size": 2}
        return getattr(transformers, f"{kind}Config")(
            text_config={**text, "rope_parameters": rope},
            vision_config={**shape, "spatial_merge_size": 2, **vision},
            image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
            video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
            vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
            vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
            tie_word_embeddings=False,
        )

    return config


def _idefics_processor() -> Any:
    image = _IMAGE_OF["idefics"]
    # Images above one tile are cut into tiles, with words between them.
    return transformers.Idefics3Processor(
        transformers.Idefics3ImageProcessor(
            size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
        ),
        _words(_IDEFICS, image),
        image_seq_len=9,
        chat_template=chat_template(image),
    )


def _idefics_config(text: dict[str, Any], words: Any) -> Any:
    return transformers.Idefics3Config(
        text_config=transformers.LlamaConfig(**text),
        vision_config=transformers.Idefics3VisionConfig(**{**_CLIP, "patch_size": 4}),
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id,
        tie_word_embeddings=False,
    )


_PROCESSORS: dict[str, Callable[[], Any]] = {
    "llava": _llava_processor,
    "qwen2_vl": _qwen_processor,
    "qwen2_5_vl": _qwen_processor,
    "idefics3": _idefics_processor,
}
_CONFIGS: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "llava": _llava_config,
    "qwen2_vl": _qwen_config("Qwen2VL", {"embed_dim": 16, "hidden_size": 32}),
    "qwen2_5_vl": _qwen_config(
        "Qwen2_5_VL",
        {
            "hidden_size": 16,
            "out_hidden_size": 32,
            "intermediate_size": 16,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
    ),
    "idefics3": _idefics_config,
}
