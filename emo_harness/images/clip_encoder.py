"""Image-text encoders: any model of open_clip, by name, hub id or local folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.extras import import_extra
from emo_harness.images.clip_files import ClipFiles, find_clip

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from torch import Tensor

Floats = NDArray[np.float32]
_TEXTS_AT_ONCE = 256
# What open_clip, timm, transformers and safetensors raise for files that do not fit together.
_MISFITS = (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError)
# Two sentences that differ in their last word alone.
_ALIKE_BUT_FOR_THE_END = ("an image of fear", "an image of joy")


@dataclass(frozen=True)
class ClipEncoder:
    """A model that puts images and texts into one space.

    Attributes:
        name: as it was asked for; of a local folder its last part.
        identity: what was loaded: "files <sha256>" or "commit <id>", None where unknown.
        scale: cosines are multiplied by it before a softmax (exp of the logit scale).
        context_tokens: longer texts are cut.
        model, tokenizer, transform: of open_clip.
        device: where the model is.
    """

    name: str
    identity: str | None
    scale: float
    context_tokens: int
    model: Any
    tokenizer: Any
    transform: Any
    device: str

    def prepare(self, image: PILImage) -> Tensor:
        """(3, height, width) float32, as the model takes it; may be called on any thread."""
        return self.transform(image)

    def image_vectors(self, prepared: Sequence[Tensor]) -> Floats:
        """(n, d) float32 unit vectors of prepared images, in one batch."""
        import torch

        with torch.inference_mode():
            batch = torch.stack(list(prepared)).to(self.device)
            vectors = self.model.encode_image(batch, normalize=True)
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)

    def text_vectors(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32 unit vectors of texts."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                tokens = self.tokenizer(list(texts[start : start + _TEXTS_AT_ONCE]))
                vectors = self.model.encode_text(tokens.to(self.device), normalize=True)
                found.append(vectors.float().cpu().numpy())
        return np.concatenate(found).astype(np.float32, copy=False)

    def n_cut(self, texts: Sequence[str]) -> int:
        """How many texts have more tokens than the model reads."""
        if not texts:
            return 0
        longer = self.tokenizer(list(texts), context_length=self.context_tokens + 1)
        return int((longer[:, -1] != _padding(self.tokenizer)).sum())

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Texts of which the tokenizer does not know some part."""
        inner: Any = getattr(self.tokenizer, "tokenizer", None)
        unk = getattr(inner, "unk_token_id", None)
        # Some vocabularies have one token for the unknown, for padding and for the end.
        if unk is None or unk in (inner.eos_token_id, inner.pad_token_id):
            return []
        ids = self.tokenizer(list(texts))
        return [text for text, row in zip(texts, ids, strict=True) if bool((row == unk).any())]


def load_clip_encoder(name: str, device: str | None = None) -> ClipEncoder:
    """Load an encoder, float32, weights from safetensors alone.

    Args:
        name: "ViT-B-32:laion2b_s34b_b79k" (architecture and weights that open_clip knows),
            "hf-hub:ORG/MODEL", "local-dir:FOLDER" (nothing is fetched), or "emo-demo-clip".
        device: e.g. "cuda:0"; an accelerator where there is one, by default.

    Raises:
        UserError: the extra `images` is not installed; no such model; weights as a pickle only;
            files that are missing, broken or do not fit; a device that is not there.
    """
    open_clip = import_extra("open_clip", "checking images with an image encoder")
    from emo_harness.activations.loading import torch_device

    doing = f"loading the image encoder {name}"
    files = find_clip(name)
    where = str(torch_device(device, doing))
    try:
        model = open_clip.create_model(
            files.model_name,
            pretrained=files.weights,
            device="cpu",
            force_quick_gelu=files.quick_gelu,
            force_preprocess_cfg=dict(files.preprocess),
            # Only all weights together count; parts are never fetched from elsewhere.
            pretrained_image=False,
            pretrained_text=False,
            require_pretrained=True,
        )
        tokenizer = open_clip.get_tokenizer(files.tokenizer_name)
        transform = open_clip.transform.image_transform_v2(
            open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg), is_train=False
        )
        encoder = ClipEncoder(
            files.label,
            files.identity,
            float(model.logit_scale.exp().item()),
            int(tokenizer.context_length),
            model.eval().to(where),
            tokenizer,
            transform,
            where,
        )
        _require_reads_to_the_end(encoder, files, doing)
    except _safetensors_error() as error:
        raise _misfit(doing, files, error, "whole safetensors files") from error
    except _MISFITS as error:
        raise _misfit(doing, files, error, "configuration, weights and tokenizer that fit") from (
            error
        )
    return encoder


def _require_reads_to_the_end(encoder: ClipEncoder, files: ClipFiles, doing: str) -> None:
    """open_clip takes a text's vector at its highest token id: the end of the text, or wrong."""
    first, second = encoder.text_vectors(_ALIKE_BUT_FOR_THE_END)
    known = not encoder.unknown(_ALIKE_BUT_FOR_THE_END)
    pool = getattr(encoder.model, "text_pool_type", None) or getattr(
        getattr(encoder.model, "text", None), "pool_type", None
    )
    inner = getattr(encoder.tokenizer, "tokenizer", None)
    end = getattr(inner, "eos_token_id", None)
    ids = encoder.tokenizer(list(_ALIKE_BUT_FOR_THE_END))
    misread = pool == "argmax" and end is not None and bool((ids.max(dim=1).values != end).any())
    if misread or (known and np.allclose(first, second, atol=1e-7)):
        raise UserError(
            doing,
            found="texts are read at a token that is not their end",
            expected="a tokenizer that ends every text with its highest token id"
            if pool == "argmax"
            else "texts that differ in their last word to have different vectors",
            fix=f"see hf_tokenizer_name and text_cfg in {files.told}",
        )


def _padding(tokenizer: Any) -> int:
    inner = getattr(tokenizer, "tokenizer", None)
    pad = getattr(inner, "pad_token_id", None)
    return int(pad) if pad is not None else 0


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


def _misfit(doing: str, files: ClipFiles, error: Exception, expected: str) -> UserError:
    told = quoted([line.strip() for line in str(error).splitlines() if line.strip()], 2)
    return UserError(
        doing,
        found=f"{type(error).__name__}: {told[:240]}",
        expected=expected,
        fix=f"check {files.told}",
    )
