"""What `emo-hf` and `emo-vlm` refuse, told as the user's to mend: models, arguments, prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError

from emo_harness.errors import UserError

# What loading raises for a model that is not there or not known, and for arguments that do not fit.
_REFUSALS = (OSError, ValueError, TypeError, ImportError, SafetensorError)
# A model of text has no processor, on which lm-eval's multimodal one comes to grief.
_OF_TEXT_MODELS = (AttributeError, AssertionError)

# What trying a model in a way that it was not made for may raise.
TRIAL_ERRORS = (RuntimeError, AttributeError, TypeError, ValueError, KeyError)

_CONVERT = (
    "pickles become safetensors by loading the model once with transformers and "
    "`model.save_pretrained(FOLDER)`"
)


def untried(error: BaseException) -> str:
    """Why a model is not packed: one of `TRIAL_ERRORS`."""
    told = " ".join(str(error).split())[:150]
    return f"it could not be tried ({type(error).__name__}: {told})"


def require_tokens(tokens: Sized, text: str) -> None:
    """A prompt, or an option, has tokens of its own."""
    if not len(tokens):
        raise UserError(
            "tokenising a prompt",
            found=f"no token of its own for {text[:40]!r}",
            expected="at least one",
            fix="separate the option from what stands before it (target_delimiter), and for an "
            "empty prompt let the tokenizer put a token: --model_args ...,add_bos_token=True",
        )


def require_dtype(dtype: Any) -> None:
    """torch knows the dtype by its name."""
    known = not isinstance(dtype, str) or dtype == "auto" or hasattr(torch, dtype)
    if not known:
        raise UserError(
            "reading --model_args",
            found=f"dtype={dtype}",
            expected="auto, float32, bfloat16 or float16",
            fix="e.g. --model_args ...,dtype=bfloat16",
        )


@contextmanager
def loading(pretrained: Any, host: str = "hf") -> Iterator[None]:
    """Tell what transformers and lm-eval, as its model `host`, refuse of a model and arguments."""
    with_images = host != "hf"
    refusals = (*_REFUSALS, *_OF_TEXT_MODELS) if with_images else _REFUSALS
    try:
        yield
    except refusals as error:
        if isinstance(error, OSError) and ".safetensors" in str(error):
            raise UserError(
                f"loading the model {pretrained}",
                found=" ".join(str(error).split())[:200],
                expected="weights as safetensors: pickled ones can run code as they are read",
                fix=f"check pretrained=...; {_CONVERT}",
            ) from error
        if isinstance(error, ImportError):
            raise UserError(
                f"loading the model {pretrained}",
                found=" ".join(str(error).split())[:200],
                expected="the libraries that this model's own code in transformers needs",
                fix="install what is named, e.g. `pip install torchvision` for the processors of "
                "Qwen-VL",
            ) from error
        raise UserError(
            f"loading the model {pretrained if isinstance(pretrained, str) else 'given'}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            expected="a folder or hub name of a "
            f"{'multimodal' if with_images else 'language'} model, and arguments that `{host}` "
            "takes",
            fix="check pretrained=... and the other --model_args; --device is a flag of its own"
            + ("; a model of text alone is asked with --model emo-hf" if with_images else ""),
        ) from error


def safetensors_alone(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `from_pretrained` by which no pickled weights are read.

    Raises:
        UserError: the user asks for them.
    """
    given = arguments.get("use_safetensors")
    if given is not None and not given:
        raise UserError(
            "reading --model_args",
            found=f"use_safetensors={given}",
            expected="weights as safetensors: pickled ones can run code as they are read",
            fix=f"leave it out; {_CONVERT}",
        )
    if arguments.get("autogptq") or arguments.get("gptqmodel"):
        # Loaders of their own, which are told by lm-eval.
        return arguments
    return {**arguments, "use_safetensors": True}


def image_token_of(config: Any) -> int:
    """The token that stands for a piece of an image.

    Raises:
        UserError: the model's configuration does not tell.
    """
    for name in ("image_token_id", "image_token_index"):
        found = getattr(config, name, None)
        if found is not None:
            return int(found)
    raise UserError(
        "reading the model's configuration",
        found="no image_token_id",
        expected="the token that stands for a piece of an image",
        fix="give --model_args ...,image_token_id=... instead of image_string",
    )


def require_apart(inputs: Mapping[str, Any], image_token_id: int) -> None:
    """Images that a model tells apart by what stands between them (Qwen-VL) are apart.

    Args:
        inputs: a batch as the processor makes it, (n_prompts, n_tokens).

    Raises:
        UserError: two images side by side, which transformers would take for one.
    """
    grids = inputs.get("image_grid_thw")
    if grids is None:
        return
    is_image = inputs["input_ids"] == image_token_id
    n_runs = int(is_image[:, 0].sum() + (is_image[:, 1:] & ~is_image[:, :-1]).sum())
    if n_runs < len(grids):
        raise UserError(
            "showing several images in one prompt",
            found=f"{len(grids)} images, some with nothing between them",
            expected="words or marks between two images: transformers takes such for one",
            fix="add --apply_chat_template, which marks every image, or put a space between them",
        )


def require_end_token(tokenizer: Any) -> None:
    """The tokenizer has a token that ends a text."""
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"reading the tokenizer of {tokenizer.name_or_path}",
            found="no end-of-text token",
            expected="one, which ends generations and stands before empty contexts",
            fix='name it in tokenizer_config.json, as "eos_token"',
        )


def require_room(n_tokens: int, max_length: int) -> None:
    """An answer option fits into the context window."""
    if n_tokens > max_length:
        raise UserError(
            "scoring an answer option",
            found=f"an option of {n_tokens:,} tokens",
            expected=f"at most the context window's {max_length:,}",
            fix="shorten the option, or raise --model_args ...,max_length=...",
        )
