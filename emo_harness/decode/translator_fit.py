"""Fitting translators in closed form, on sums that are streamed over texts.

Of each layer, with x its activation and y that of the last layer at the same token, both centred:

    A = 1 + D,   D = argmin  sum |y - x - D x|^2 + penalty * (trace S / d) * |D|^2,   S = sum x x'

so that a large penalty leads to no translation rather than to nothing. The penalty is the one with
the smallest divergence from the model's own distribution on held-out texts, "no translator" among
the choices; what is reported is the divergence on further texts. First tokens are left out: their
activations are far larger than all others and the same in every text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from emo_harness.activations.capture import vectors
from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.prompt_rows import prompt_rows
from emo_harness.decode.lens import LogitLens, logit_lens
from emo_harness.decode.top_tokens import Floats, rows_at_once
from emo_harness.decode.translators import LayerFit, Translators, facts_of
from emo_harness.errors import UserError, quoted

SITES = ("resid_post", "resid_pre", "attn_out", "mlp_out")
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Texts of which none is fitted: one part chooses penalties, the other is reported.
HELD_OUT = 0.1
HELD_OUT_TOKENS = 256
# Activations of all layers that are in memory together.
BATCH_BYTES = 256 * 1024**2
FEWEST_TEXTS = 10


def fit_translators(
    loaded: LoadedModel,
    texts: pd.DataFrame,
    rng: np.random.Generator,
    *,
    site: str = "resid_post",
    layers: Sequence[int] | None = None,
    progress: bool = True,
) -> Translators:
    """Fit a translator per layer on texts.

    Beside the model there are, in memory, two matrices of hidden_size^2 float64 per layer, and the
    activations of one batch.

    Args:
        loaded: the model.
        texts: `text`, as `activations.texts.read_texts` gives them; repeated ones count once.
        rng: chooses the held-out texts.
        site: whose vectors are to be translated.
        layers: of the model; all that have the site by default.
        progress: show bars where there is a terminal.

    Raises:
        UserError: too few texts, texts that cannot be read, or a site or model that cannot be
            translated.
    """
    if site not in SITES:
        raise UserError(
            f"fitting translators of the site {site!r}",
            found="no site of the residual stream",
            expected=quoted(SITES),
            fix="translate one of these",
        )
    lens = logit_lens(loaded, site)
    chosen = tuple(sorted(set(loaded.layout.layers_of(site) if layers is None else layers)))
    loaded.layout.check({site: chosen})
    # All of them, so that what cannot be read is told before anything is computed.
    n_tokens = prompt_rows(loaded, texts[["text"]], "all").encoded.n_tokens
    fitted, choosing, reporting = _parts(texts[["text"]].assign(n_tokens=n_tokens), rng)
    stream = _Stream(loaded, site, chosen)
    sums = [_Sums(loaded.layout.hidden_size, stream.device) for _ in chosen]
    for states, last in stream.of(fitted, progress):
        for place, one in enumerate(sums):
            one.add(states[:, place].to(stream.device), last.to(stream.device))
    choose = stream.some(choosing)
    report = stream.some(reporting)
    width = loaded.layout.hidden_size
    matrices = np.empty((len(chosen), width, width), np.float32)
    biases = np.empty((len(chosen), width), np.float32)
    fits = []
    for place, layer in enumerate(tqdm(chosen, "fitting", disable=None if progress else True)):
        matrix, bias, fit = _fitted(sums[place], lens, layer, choose.at(place), report.at(place))
        matrices[place], biases[place] = matrix.cpu().numpy(), bias.cpu().numpy()
        fits.append(fit)
        # What was solved is not needed again.
        sums[place] = _Sums(0, stream.device)
    facts = {
        "n_texts": len(fitted),
        "n_tokens": stream.n_tokens,
        "n_texts_held_out": len(choosing) + len(reporting),
        "n_tokens_held_out": len(report.last),
    }
    return Translators(site, chosen, matrices, biases, tuple(fits), facts_of(loaded), facts)


@dataclass(frozen=True)
class _Held:
    """Activations of held-out texts: (n, n_layers, d) of the site, (n, d) of the last layer."""

    states: torch.Tensor
    last: torch.Tensor

    def at(self, place: int) -> _Held:
        return _Held(self.states[:, place], self.last)


class _Stream:
    """Activations of texts, batch by batch."""

    def __init__(self, loaded: LoadedModel, site: str, layers: tuple[int, ...]) -> None:
        self.device = loaded.model.get_input_embeddings().weight.device
        self.n_tokens = 0
        self._loaded = loaded
        self._site = site
        self._layers = layers
        self._last = loaded.layout.n_layers - 1

    def of(
        self, texts: pd.DataFrame, progress: bool
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(n, n_layers, d) of the site and (n, d) of the last layer, first tokens left out."""
        lengths = texts["n_tokens"].to_numpy()
        n_sites = 1 if self._site == "resid_post" else 2
        token_bytes = 4 * n_sites * self._loaded.layout.hidden_size * (len(self._layers) + 1)
        batch = np.cumsum(lengths) // max(1, BATCH_BYTES // token_bytes)
        with tqdm(
            total=int(lengths.sum()),
            desc="reading",
            unit="token",
            disable=None if progress else True,
        ) as bar:
            for _, part in texts.groupby(batch, sort=True):
                found = self._read(part)
                bar.update(int(lengths[part.index].sum()))
                self.n_tokens += len(found.last)
                yield found.states, found.last

    def some(self, texts: pd.DataFrame) -> _Held:
        """Activations of the first few hundred tokens of texts."""
        lengths = texts["n_tokens"].to_numpy() - 1
        enough = int(np.searchsorted(np.cumsum(lengths), HELD_OUT_TOKENS)) + 1
        found = self._read(texts.iloc[:enough])
        return _Held(found.states[:HELD_OUT_TOKENS], found.last[:HELD_OUT_TOKENS])

    def _read(self, texts: pd.DataFrame) -> _Held:
        layers = sorted({*self._layers, self._last})
        read = vectors(
            self._loaded,
            texts[["text"]],
            sites=(self._site, "resid_post"),
            layers=layers,
            position="all",
        )
        rows = np.flatnonzero(read.index["token"].to_numpy() > 0)
        places = [read.layers.index(layer) for layer in self._layers]
        states = read.values[self._site][rows][:, places]
        last = read.values["resid_post"][rows, read.layers.index(self._last)]
        return _Held(torch.from_numpy(states), torch.from_numpy(last))


class _Sums:
    """Sums over tokens of one layer; all are of x - x0 and of the move, y - x - m0.

    x0 and m0 are means of the first batch: products of large means would drown what is sought.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        kind = torch.float64
        self.n = 0
        self.origins: tuple[torch.Tensor, torch.Tensor] | None = None
        self.x, self.move = (torch.zeros(width, dtype=kind, device=device) for _ in range(2))
        self.xx, self.xm = (torch.zeros(width, width, dtype=kind, device=device) for _ in range(2))

    def add(self, x: torch.Tensor, last: torch.Tensor) -> None:
        """Take (n, d) float32 of the layer, and of the last one."""
        move = last - x
        if self.origins is None:
            self.origins = x.mean(dim=0), move.mean(dim=0)
        x, move = x - self.origins[0], move - self.origins[1]
        self.n += len(x)
        self.x += x.sum(dim=0)
        self.move += move.sum(dim=0)
        self.xx += x.T @ x
        self.xm += x.T @ move

    def solved(self, penalty: float | None) -> tuple[torch.Tensor, torch.Tensor]:
        """A (d, d) and b (d,) float32; those that change nothing for no penalty."""
        width = len(self.x)
        one = torch.eye(width, device=self.x.device)
        if penalty is None or self.origins is None:
            return one, torch.zeros(width, device=self.x.device)
        mean_x, mean_move = self.x / self.n, self.move / self.n
        spread = self.xx - self.n * torch.outer(mean_x, mean_x)
        moved = self.xm - self.n * torch.outer(mean_x, mean_move)
        size = float(spread.diagonal().mean())
        spread.diagonal().add_(penalty * size if size > 0 else 1.0)
        by = torch.cholesky_solve(moved, torch.linalg.cholesky(spread)).T
        bias = (self.origins[1] + mean_move) - by @ (self.origins[0] + mean_x)
        return one + by.float(), bias.float()


def _parts(
    texts: pd.DataFrame, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Texts to fit, to choose penalties by, and to report."""
    # A text of one token has none but the first.
    distinct = texts[texts["n_tokens"] > 1].drop_duplicates("text")
    if len(distinct) < FEWEST_TEXTS:
        raise UserError(
            "fitting translators",
            found=f"{len(distinct)} different texts of two tokens or more",
            expected=f"at least {FEWEST_TEXTS}, of which some are held out",
            fix="give a file with more lines",
        )
    shuffled = distinct.iloc[rng.permutation(len(distinct))]
    n_held = max(1, round(HELD_OUT * len(distinct)))
    parts = (
        shuffled.iloc[2 * n_held :],
        shuffled.iloc[:n_held],
        shuffled.iloc[n_held : 2 * n_held],
    )
    fitted, choosing, reporting = (part.reset_index(drop=True) for part in parts)
    return fitted, choosing, reporting


def _fitted(
    sums: _Sums, lens: LogitLens, layer: int, choose: _Held, report: _Held
) -> tuple[torch.Tensor, torch.Tensor, LayerFit]:
    if lens.site == "resid_post" and layer == lens.view.layout.n_layers - 1:
        # The model's own distribution, where rounding must not look like something to be won.
        return *sums.solved(None), LayerFit(None, 0.0, 0.0)
    # Without a translator first: of equals, it is the simplest.
    penalties = (None, *PENALTIES)
    found = _divergences(lens, choose, [_moved(choose, sums.solved(p)) for p in penalties])
    penalty = penalties[int(np.argmin(found))]
    matrix, bias = sums.solved(penalty)
    plain, translated = _divergences(
        lens, report, [report.states, _moved(report, (matrix, bias))]
    ).tolist()
    return matrix, bias, LayerFit(penalty, plain, translated)


def _moved(held: _Held, affine: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    matrix, bias = affine
    return torch.nn.functional.linear(held.states.to(matrix.device), matrix, bias)


@torch.no_grad()
def _divergences(lens: LogitLens, held: _Held, read: Sequence[torch.Tensor]) -> Floats:
    """Mean KL(model || lens) of several readings of the same tokens, in nats.

    Args:
        lens: of the model.
        held: with what the last layer gave, whose distribution is the model's own.
        read: each (n, d), what the lens is to read in its place.
    """
    totals = np.zeros(len(read))
    step = rows_at_once(lens.head.vocabulary, 4)
    for first in range(0, len(held.last), step):
        rows = slice(first, first + step)
        own = lens.head(lens.norm(held.last[rows])).log_softmax(dim=-1)
        share = own.exp()
        for place, states in enumerate(read):
            other = lens.head(lens.norm(states[rows])).log_softmax(dim=-1)
            totals[place] += float((share * (own - other)).sum())
    return (totals / len(held.last)).astype(np.float32)
