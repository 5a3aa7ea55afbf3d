"""The input embeddings that point most nearly the same way as a vector."""

from __future__ import annotations

import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.decode.lens import ResidualView
from emo_harness.decode.module_chain import product
from emo_harness.decode.top_tokens import Floats, TopTokens, top_tokens
from emo_harness.errors import UserError
from emo_harness.stimuli.decoding import Decoder


class NearestEmbeddings:
    """Decodes vectors of one site; made by `nearest_embeddings`.

    Attributes:
        name: "nearest".
        site: where its vectors are read.
        view: of these vectors in the residual stream.
        embeddings: (vocabulary, hidden_size), the model's own.
    """

    name: Decoder = "nearest"

    def __init__(self, view: ResidualView, embeddings: torch.Tensor) -> None:
        self.site = view.site
        self.view = view
        self.embeddings = embeddings
        lengths = torch.linalg.vector_norm(embeddings, dim=1, dtype=torch.float32)
        # Rows of zeros, as padding has, are near to nothing: as if infinitely long.
        self._lengths = lengths.masked_fill(lengths == 0, torch.inf)

    def top(self, vectors: Floats, layer: int, k: int) -> TopTokens:
        """See `TokenDecoder.top`; also a vector of zeros is refused."""
        self.view.require(vectors, layer)
        doing = f"looking for embeddings near to {self.site} of layer {layer}"
        if not vectors.any(axis=tuple(range(1, vectors.ndim))).all():
            raise UserError(
                doing,
                found="a vector of zeros",
                expected="vectors with a direction",
                fix="leave this layer out, or decode by the logit lens",
            )
        return top_tokens(
            vectors,
            k,
            len(self.embeddings),
            lambda rows: self.cosines(rows, layer),
            normalised=False,
            doing=doing,
        )

    @torch.no_grad()
    def cosines(self, vectors: torch.Tensor, layer: int) -> torch.Tensor:
        """Cosines of a few vectors with all embeddings.

        Args:
            vectors: (n, *shape of the site) float32.
            layer: where they were read.

        Returns:
            (n, vocabulary) float32 on the embeddings' device, a tensor of its own.
        """
        states = self.view(vectors.to(self.embeddings.device), layer)
        states = torch.nn.functional.normalize(states.to(self.embeddings.device), dim=1)
        return product(states, self.embeddings).div_(self._lengths)


def nearest_embeddings(loaded: LoadedModel, site: str = "resid_post") -> NearestEmbeddings:
    """The nearest input embeddings of a model.

    Args:
        loaded: the model.
        site: where vectors are read, see `activations.sites`.

    Raises:
        UserError: the embeddings are no vectors of the residual stream, or the site's vectors are
            none.
    """
    view = ResidualView(loaded.layout, site)
    embeddings = loaded.layout.base.get_input_embeddings().weight.detach()
    if embeddings.shape[1] != loaded.layout.hidden_size or not embeddings.is_floating_point():
        raise UserError(
            f"comparing with the embeddings of {type(loaded.layout.model).__name__}",
            found=f"embeddings of {embeddings.shape[1]:,} numbers ({embeddings.dtype})",
            expected=f"{loaded.layout.hidden_size:,} as the residual stream has",
            fix="decode by the logit lens",
        )
    return NearestEmbeddings(view, embeddings)
