"""Tiny random text-to-image pipelines of several families, saved as diffusers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIDE = 32


def save_stable_diffusion(folder: Path, **parts: Any) -> Path:
    """UNet, autoencoder, CLIP text encoder and DDIM; about 60,000 weights, 32 x 32 pixels."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    tokenizer = save_clip_tokenizer(folder / "vocabulary")
    parts = {
        "vae": _autoencoder(4),
        "text_encoder": _clip_text(len(tokenizer), 16),
        "tokenizer": tokenizer,
        "unet": _unet(16),
        "scheduler": DDIMScheduler(clip_sample=False, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    } | parts
    StableDiffusionPipeline(**parts).save_pretrained(folder, safe_serialization=True)
    return folder


def save_flux(folder: Path) -> Path:
    """A flow transformer with two text encoders; takes a negative prompt without effect."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    tokenizer = save_clip_tokenizer(folder / "vocabulary")
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(1, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=_clip_text(len(tokenizer), 16),
        tokenizer=tokenizer,
        text_encoder_2=_t5(16),
        tokenizer_2=_t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
        ),
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_pixart(folder: Path) -> Path:
    """A diffusion transformer with T5, and a scheduler that PixArt's own pipeline calls."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel

    torch.manual_seed(0)
    PixArtAlphaPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=_t5(16),
        vae=_autoencoder(4),
        transformer=PixArtTransformer2DModel(
            sample_size=32,
            num_layers=1,
            patch_size=4,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=16,
            cross_attention_dim=16,
            in_channels=4,
            out_channels=8,
        ),
        scheduler=DPMSolverMultistepScheduler(),
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_clip_tokenizer(folder: Path) -> Any:
    """CLIP's kind of tokenizer over single letters."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS + ",.")]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    for mark in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[mark] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        model_max_length=77,
    )


def _unet(width: int) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
    )


def _autoencoder(channels: int, **further: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=SIDE,
        **further,
    )


def _clip_text(n_tokens: int, width: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=n_tokens,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=n_tokens - 2,
            eos_token_id=n_tokens - 1,
            pad_token_id=n_tokens - 1,
        )
    )


def _t5(width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=width, d_kv=8, d_ff=2 * width, num_layers=1, num_heads=2)
    )


def _t5_tokenizer() -> Any:
    """Letters as T5's kind of tokenizer."""
    from transformers import T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS, ",", "."]
    vocabulary = [(piece, -float(i)) for i, piece in enumerate(pieces)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)
