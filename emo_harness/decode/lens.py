"""The logit lens: a vector of any layer, read as if it were what the last layer gives.

nostalgebraist, 2020: "interpreting GPT: the logit lens". logits = head(norm(x)), the model's own
final norm applied once, then its own language head.
"""

from __future__ import annotations

import copy

import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.self_check import is_near
from emo_harness.activations.sites import SITES, Layout
from emo_harness.decode.final_norm import FinalNorm, final_norm
from emo_harness.decode.output_head import OutputHead, output_head, own_logits
from emo_harness.decode.top_tokens import Floats, TopTokens, top_tokens
from emo_harness.decode.written_values import WrittenValues, written_values
from emo_harness.errors import UserError, nearest
from emo_harness.stimuli.decoding import Decoder


def require_decodable(site: str) -> None:
    """Raise unless vectors of a site are of the residual stream, or written into it.

    Raises:
        UserError: there is no such site, or nothing of it is ever written there.
    """
    if site not in SITES or site == "key":
        raise UserError(
            f"decoding the site {site!r}",
            found="keys: they say where attention looks, and are never written to the residual "
            "stream"
            if site == "key"
            else f"no such site{nearest(site, SITES)}",
            expected="vectors of the residual stream, or such as are written into it",
            fix="--site resid_post, resid_pre, attn_out, mlp_out or value",
        )


class ResidualView:
    """Vectors of a site as vectors of the residual stream.

    Those of `resid_pre`, `resid_post`, `attn_out` and `mlp_out` are that already; values are what
    attention would write if every head attended to their token alone.

    Args:
        layout: of the model.
        site: where vectors are read.

    Raises:
        UserError: no such site, or one that is never written to the residual stream.
    """

    def __init__(self, layout: Layout, site: str) -> None:
        require_decodable(site)
        layout.layers_of(site)
        self.layout = layout
        self.site = site
        self._written: WrittenValues | None = written_values(layout) if site == "value" else None
        self._is_of_differences = False

    def of_differences(self) -> ResidualView:
        """The same view of differences between vectors.

        What the way adds to every vector, such as the bias of an output projection, cancels out of
        a difference, and would drown what is left where it is larger.
        """
        view = copy.copy(self)
        view._is_of_differences = True
        return view

    def require(self, vectors: Floats, layer: int) -> None:
        """Raise unless these can be vectors of a layer.

        Raises:
            UserError: the layer has no such site, or its vectors have another shape.
        """
        self.layout.check({self.site: [layer]})
        if self._written is not None:
            self._written.require(layer)
        shape = self.layout.shapes[self.site][layer]
        if vectors.shape[1:] != shape:
            raise UserError(
                f"decoding {self.site} of layer {layer}",
                found=f"vectors of shape {vectors.shape[1:]}",
                expected=f"{shape}, as {type(self.layout.model).__name__} has there",
                fix="decode vectors in the model that they were read from",
            )

    def __call__(self, vectors: torch.Tensor, layer: int) -> torch.Tensor:
        """(n, *shape of the site) to (n, hidden_size), float32."""
        if self._written is None:
            return vectors
        written = self._written(vectors, layer)
        if not self._is_of_differences:
            return written
        return written - self._written(torch.zeros_like(vectors[:1]), layer)


class LogitLens:
    """Decodes vectors of one site; made by `logit_lens`.

    Attributes:
        name: "logit-lens".
        site: where its vectors are read.
        view, norm, head: the parts, in the order in which they are applied.
    """

    name: Decoder = "logit-lens"

    def __init__(self, view: ResidualView, norm: FinalNorm, head: OutputHead) -> None:
        self.site = view.site
        self.view = view
        self.norm = norm
        self.head = head

    def top(self, vectors: Floats, layer: int, k: int) -> TopTokens:
        """See `TokenDecoder.top`."""
        self.view.require(vectors, layer)
        return top_tokens(
            vectors,
            k,
            self.head.vocabulary,
            lambda rows: self.logits(rows, layer),
            doing=f"decoding {self.site} of layer {layer}",
        )

    @torch.no_grad()
    def logits(self, vectors: torch.Tensor, layer: int) -> torch.Tensor:
        """All logits of a few vectors.

        Args:
            vectors: (n, *shape of the site) float32.
            layer: where they were read.

        Returns:
            (n, vocabulary) float32 on the head's device, a tensor of its own.
        """
        return self.head(self.norm(self.view(vectors, layer)))


def logit_lens(loaded: LoadedModel, site: str = "resid_post") -> LogitLens:
    """The logit lens of a model, proven on random prompts.

    Args:
        loaded: the model.
        site: where vectors are read, see `activations.sites`.

    Raises:
        UserError: the model has no language head, its head or final norm cannot be reproduced, or
            the site's vectors are not to be read this way.
    """
    layout = loaded.layout
    lens = LogitLens(ResidualView(layout, site), final_norm(layout), output_head(layout))
    _prove(layout, lens)
    return lens


@torch.no_grad()
def _prove(layout: Layout, lens: LogitLens) -> None:
    """At the last layer the lens gives the model's own logits."""
    states, own = own_logits(layout)
    found = lens.head(lens.norm(states)).to(own.device)
    if not is_near(found, own):
        raise UserError(
            f"checking the logit lens of {type(layout.model).__name__}",
            found="other logits at the last layer than the model's own",
            expected="the same ones",
            fix="choose another model",
        )
