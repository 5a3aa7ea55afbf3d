"""Translators: one affine map per layer, from its residual stream towards the last layer's.

Belrose et al. (2023), "Eliciting Latent Predictions from Transformers with the Tuned Lens": a
vector is first put into the last layer's terms, x -> A x + b, and then read by the logit lens.
Theirs are trained by gradient descent on a divergence; ours are fitted in closed form
(`translator_fit`) and judged by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.plan import weights_id
from emo_harness.decode.lens import LogitLens, logit_lens
from emo_harness.decode.top_tokens import Floats, TopTokens, top_tokens
from emo_harness.errors import UserError, quoted
from emo_harness.stimuli.decoding import Decoder
from emo_harness.whole_file import write_whole

SCHEMA = 1
METADATA = "emo_translators"
_FIX = "fit translators on this model"


@dataclass(frozen=True)
class LayerFit:
    """How a layer's translator was fitted, and whether it helps.

    Attributes:
        penalty: of the ridge regression, in units of the mean variance of an activation; None
            where no translator was better than none, and A is 1 and b is 0.
        kl_plain, kl_translated: mean divergence, in nats per token, of what the logit lens reads
            from the model's own distribution: KL(model || lens), on held-out texts, without and
            with the translator.
    """

    penalty: float | None
    kl_plain: float
    kl_translated: float

    @property
    def helps(self) -> bool:
        """Whether held-out texts are read better with the translator than without.

        False also where the plain lens is the model's own distribution, as at the last layer.
        """
        return self.kl_translated < self.kl_plain


@dataclass(frozen=True, eq=False)
class Translators:
    """Affine maps of one model and site.

    Attributes:
        site: where the vectors are read that they translate.
        layers: of the model, one translator each.
        matrices: (n_layers, hidden_size, hidden_size) float32, A of x -> A x + b.
        biases: (n_layers, hidden_size) float32, b.
        fits: by translator, how it was fitted.
        model: what it was fitted on: name, id, n_layers, hidden_size.
        facts: tokens and texts of the fit, its seed; JSON values.
    """

    site: str
    layers: tuple[int, ...]
    matrices: Floats
    biases: Floats
    fits: tuple[LayerFit, ...]
    model: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unhelpful(self) -> tuple[int, ...]:
        """The layers whose translators do not help on held-out texts, though something is to do."""
        fits = zip(self.layers, self.fits, strict=True)
        return tuple(n for n, fit in fits if fit.kl_plain > 0 and not fit.helps)

    def place(self, layer: int) -> int:
        """Which of the translators is a layer's.

        Raises:
            UserError: none is.
        """
        if layer not in self.layers:
            raise UserError(
                f"translating {self.site} of layer {layer}",
                found=f"translators of the layers {quoted(map(str, self.layers), 40)}",
                expected="one of this layer",
                fix="choose other --layers, or fit translators at this layer too",
            )
        return self.layers.index(layer)


class TunedLens:
    """Decodes vectors of one site through translators; made by `tuned_lens`.

    Attributes:
        name: "tuned-lens".
        site: where its vectors are read.
        lens: that reads what was translated.
        translators: of the model.
    """

    name: Decoder = "tuned-lens"

    def __init__(self, lens: LogitLens, translators: Translators) -> None:
        self.site = translators.site
        self.lens = lens
        self.translators = translators

    def top(self, vectors: Floats, layer: int, k: int) -> TopTokens:
        """See `TokenDecoder.top`; also a layer without a translator is refused."""
        self.lens.view.require(vectors, layer)
        place = self.translators.place(layer)
        device = self.lens.view.layout.base.get_input_embeddings().weight.device
        matrix = torch.from_numpy(self.translators.matrices[place]).to(device)
        bias = torch.from_numpy(self.translators.biases[place]).to(device)

        def score(rows: torch.Tensor) -> torch.Tensor:
            translated = torch.nn.functional.linear(rows.to(device), matrix, bias)
            return self.lens.logits(translated, layer)

        return top_tokens(
            vectors,
            k,
            self.lens.head.vocabulary,
            score,
            doing=f"decoding {self.site} of layer {layer}",
        )


def tuned_lens(loaded: LoadedModel, translators: Translators) -> TunedLens:
    """The tuned lens of a model.

    Raises:
        UserError: translators of another model, or a model whose logits cannot be reproduced.
    """
    _require_same_model(loaded, translators, "using translators")
    return TunedLens(logit_lens(loaded, translators.site), translators)


def save_translators(path: Path, translators: Translators) -> None:
    """Write translators into one safetensors file, atomically; equal ones give equal bytes."""
    from safetensors.numpy import save_file

    described = {
        "schema": SCHEMA,
        "site": translators.site,
        "layers": list(translators.layers),
        "fits": [vars(fit) for fit in translators.fits],
        "model": dict(translators.model),
        "facts": dict(translators.facts),
    }
    tensors = {
        "matrices": np.ascontiguousarray(translators.matrices, np.float32),
        "biases": np.ascontiguousarray(translators.biases, np.float32),
    }
    # One entry alone: safetensors writes several in an order of chance.
    metadata = {METADATA: json.dumps(described, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: save_file(tensors, partial, metadata))


def load_translators(path: Path, loaded: LoadedModel) -> Translators:
    """Read translators that `save_translators` wrote.

    Args:
        path: the file.
        loaded: the model that they are to be used in.

    Raises:
        UserError: no such file, no translators in it, or those of another model.
    """
    from safetensors import SafetensorError, safe_open

    doing = f"reading translators from {path}"
    try:
        if not path.is_file():
            raise UserError(doing, found="no such file", expected="translators", fix=_FIX)
        with safe_open(path, framework="numpy") as file:
            written = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            if written.get("schema") != SCHEMA:
                raise ValueError("tensors that are no translators")
            found = _translators(written, file.get_tensor("matrices"), file.get_tensor("biases"))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())[:200]
        raise UserError(doing, found=told, expected="a file of translators", fix=_FIX) from error
    _require_same_model(loaded, found, doing)
    return found


def facts_of(loaded: LoadedModel) -> dict[str, Any]:
    """What translators tell of the model that they were fitted on."""
    return {
        "name": loaded.facts.name,
        "id": loaded.facts.identity or weights_id(loaded.model),
        "n_layers": loaded.layout.n_layers,
        "hidden_size": loaded.layout.hidden_size,
    }


def _translators(written: Mapping[str, Any], matrices: Floats, biases: Floats) -> Translators:
    layers = tuple(written["layers"])
    n, width = len(layers), int(written["model"]["hidden_size"])
    if matrices.shape != (n, width, width) or biases.shape != (n, width):
        raise ValueError(f"{matrices.shape} and {biases.shape} for {n} layers of {width} numbers")
    if any(type(layer) is not int for layer in layers) or len(set(layers)) < n:
        raise ValueError(f"layers {layers} that are no different whole numbers")
    if not (np.isfinite(matrices).all() and np.isfinite(biases).all()):
        raise ValueError("numbers that are not finite")
    fits = tuple(LayerFit(**fit) for fit in written["fits"])
    if len(fits) != n:
        raise ValueError(f"{len(fits)} fits of {n} layers")
    return Translators(
        written["site"], layers, matrices, biases, fits, written["model"], written["facts"]
    )


def _require_same_model(loaded: LoadedModel, translators: Translators, doing: str) -> None:
    own = facts_of(loaded)
    for key in ("n_layers", "hidden_size", "id"):
        if translators.model.get(key) != own[key]:
            raise UserError(
                doing,
                found=f"those of the model {translators.model.get('name')} "
                f"({key} {translators.model.get(key)})",
                expected=f"those of {own['name']} ({key} {own[key]})",
                fix=_FIX,
            )
    loaded.layout.check({translators.site: translators.layers})
