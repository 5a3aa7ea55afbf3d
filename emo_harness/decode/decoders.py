"""Decoders: what turns the vectors of one site into tokens, made by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.errors import UserError
from emo_harness.stimuli.decoding import Decoder

if TYPE_CHECKING:
    from pathlib import Path

    from emo_harness.activations.loading import LoadedModel
    from emo_harness.decode.top_tokens import TokenDecoder
    from emo_harness.decode.translators import Translators


@dataclass(frozen=True)
class Decoders:
    """How vectors, and differences between vectors, are turned into tokens.

    A translator x -> A x + b makes A (x - y) of a difference: its b cancels out, and would drown
    what is left where it is larger. So does the bias of the projection that values go through.
    """

    of_vectors: TokenDecoder
    of_differences: TokenDecoder

    @property
    def name(self) -> Decoder:
        return self.of_vectors.name


def decoders_of(
    loaded: LoadedModel, name: Decoder, site: str, translators: Translators | None = None
) -> Decoders:
    """The decoders of a model.

    Args:
        translators: of a tuned lens.

    Raises:
        UserError: the model has no language head or another than it tells, the site is never
            written to the residual stream, or there are no translators of it.
    """
    if name == "tuned-lens":
        from emo_harness.decode.translators import tuned_lens

        if translators is None or translators.site != site:
            raise UserError(
                f"decoding {site} by a tuned lens",
                found=f"translators of {translators.site}" if translators else "no translators",
                expected=f"translators of {site}",
                fix="--translators FILE, or fit some: --fit-translators TEXTS",
            )
        unbiased = replace(translators, biases=np.zeros_like(translators.biases))
        return Decoders(tuned_lens(loaded, translators), tuned_lens(loaded, unbiased))
    if name == "nearest":
        from emo_harness.decode.nearest import NearestEmbeddings, nearest_embeddings

        nearest = nearest_embeddings(loaded, site)
        view = nearest.view.of_differences()
        return Decoders(nearest, NearestEmbeddings(view, nearest.embeddings))
    from emo_harness.decode.lens import LogitLens, logit_lens

    lens = logit_lens(loaded, site)
    return Decoders(lens, LogitLens(lens.view.of_differences(), lens.norm, lens.head))


def fitted_on(
    loaded: LoadedModel, texts: Path, site: str, layers: Sequence[int], seed: int
) -> Translators:
    """Translators of these layers, fitted on the texts of a file.

    Args:
        texts: see `activations.texts.read_texts`.
        seed: chooses the texts that they are judged by.

    Raises:
        UserError: texts that cannot be read or are too few, a site that cannot be translated.
    """
    from emo_harness.activations.texts import read_texts
    from emo_harness.decode.translator_fit import fit_translators

    rng = np.random.default_rng([seed, 6])
    return fit_translators(loaded, read_texts(texts), rng, site=site, layers=layers)


def translator_remarks(translators: Translators | None, layers: Sequence[int]) -> list[str]:
    """What is to be told of the translators of these layers: how far they help."""
    if translators is None:
        return []
    fits = zip(translators.layers, translators.fits, strict=True)
    told = [
        f"layer {layer} {fit.kl_plain:.2f} to {fit.kl_translated:.2f}"
        for layer, fit in fits
        if layer in layers
    ]
    return [
        "divergence of the lens from the model's own distribution on held-out texts, nats per "
        f"token, without translator and with: {', '.join(told)}"
    ]
