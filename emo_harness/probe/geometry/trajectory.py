"""Trajectories: the axis score over generated tokens, by what the prompt said.

Step 0 is the prompt's last token; step t the t-th token that the model generated itself. If a
prompt's valence is only an echo of the adjective, high and low meet within a few steps; if it is a
state that the model writes from, they stay apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emo_harness.activations.encoding import encode_prompts
from emo_harness.axes import Axis
from emo_harness.errors import UserError
from emo_harness.probe.geometry.word_means import probing_index
from emo_harness.steer import require_same_model

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel
    from emo_harness.activations.store import Activations

Floats = NDArray[np.float64]
NAN = float("nan")
MOST_AT_ONCE = 64
WORDS_PER_CLASS = 4


def trajectories(
    loaded: LoadedModel,
    axis: Axis,
    prompts: pd.DataFrame,
    n_tokens: int,
    rng: np.random.Generator | None = None,
    temperature: float = 1.0,
) -> tuple[Floats, list[str]]:
    """Let a model go on from prompts, and read the axis at every token it writes.

    The score over the axis's layers is sum_l (x_l - o_l) . v_l / sum_l |v_l|^2.

    Args:
        prompts: with `text`.
        n_tokens: to generate.
        rng: samples with it; None takes the likeliest token.

    Returns:
        (n_prompts, 1 + n_tokens) float64 scores, NaN after an end of text; and what was written.

    Raises:
        UserError: the axis is not of this model, or a prompt leaves no room to go on.
    """
    import torch

    require_same_model(axis, loaded.layout, identity=loaded.facts.identity, name=loaded.facts.name)
    encoded = [tokens.tolist() for tokens in encode_prompts(loaded.tokenizer, prompts).tokens]
    _must_fit(loaded, encoded, n_tokens)
    scores = np.full((len(encoded), 1 + n_tokens), NAN)
    written = [""] * len(encoded)
    ends = _ends(loaded)
    # Drawn for all at once, so that no prompt's text hangs on what else is in its batch.
    chances = None if rng is None else rng.random((len(encoded), n_tokens))
    device = next(loaded.model.parameters()).device
    for rows in _progress(list(_alike(encoded))):
        tokens = torch.tensor([encoded[i] for i in rows], device=device)
        own_chances = None if chances is None else chances[rows]
        with torch.no_grad():
            whole = _continued(loaded, tokens, n_tokens, own_chances, temperature)
            along = _along(loaded, axis, whole, tokens.shape[1] - 1)
        generated = whole[:, tokens.shape[1] :].cpu().numpy()
        # An end of text is read itself; what is after it was written by nobody.
        ended = np.isin(generated, ends)
        lived: NDArray[np.bool_] = np.cumsum(ended, axis=1) - ended == 0
        along[:, 1:][~lived] = NAN
        scores[rows] = along
        for line, i in enumerate(rows):
            written[i] = str(loaded.tokenizer.decode(generated[line][lived[line]].tolist()))
    return scores, written


def prompts_to_follow(
    store: Activations, dimension: str, most: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, Floats]:
    """Prompts of a store: in templates drawn at random, a few words of each class.

    Returns:
        A table with `text`, `word`, `template`, and (n,) targets: the pole, turned round where the
        template negates.

    Raises:
        UserError: the store has no words with poles on the dimension.
    """
    index = probing_index(store)
    if dimension not in index:
        raise UserError(
            f"choosing prompts of {store.folder}",
            found=f"no words with poles on {dimension}",
            expected="a probing corpus with that dimension",
            fix="name the store that the axis was fitted on",
        )
    turned = np.where(index["negation"].to_numpy(bool), -1.0, 1.0)
    poles = index[dimension].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    target = poles * turned
    order = np.argsort(index["prompt"].to_numpy(), kind="stable")
    # Words that both lists name are the same prompt twice.
    order = order[~index["text"].iloc[order].duplicated().to_numpy()] if "text" in index else order
    by_template: dict[Any, list[NDArray[np.int64]]] = {}
    for number in rng.permutation(np.unique(index["template"])):
        own = order[index["template"].to_numpy()[order] == number]
        classes = [rng.permutation(own[target[own] == sign]) for sign in (1, -1, 0)]
        if len(classes[0]) and len(classes[1]):
            by_template[number] = [rows[:WORDS_PER_CLASS] for rows in classes]
    drawn: list[NDArray[np.int64]] = []
    for classes in by_template.values():
        if sum(map(len, drawn)) + sum(map(len, classes)) > max(most, WORDS_PER_CLASS * 3):
            break
        drawn += classes
    if not drawn:
        raise UserError(
            f"choosing prompts of {store.folder}",
            found=f"no template with high and low {dimension}",
            expected="words of both poles in one template",
            fix="capture adjectives of both poles",
        )
    chosen = np.sort(np.concatenate(drawn))
    table = index.iloc[chosen].reset_index(drop=True)
    if "text" not in table:
        table["text"] = [
            str(row.template_text).replace("{}", str(row.word)) for row in table.itertuples()
        ]
    return table, target[chosen]


def _alike(encoded: list[list[int]]) -> Iterator[list[int]]:
    """Prompts of one length together, so that nothing is padded."""
    by_length: dict[int, list[int]] = {}
    for i, tokens in enumerate(encoded):
        by_length.setdefault(len(tokens), []).append(i)
    for _, rows in sorted(by_length.items()):
        for first in range(0, len(rows), MOST_AT_ONCE):
            yield rows[first : first + MOST_AT_ONCE]


def _continued(
    loaded: LoadedModel, tokens: Any, n_tokens: int, chances: Any, temperature: float
) -> Any:
    """(n, prompt + n_tokens) token ids, greedy where `chances` is None."""
    import torch

    whole, cache, following = tokens, None, tokens
    for step in range(n_tokens):
        made = loaded.model(input_ids=following, past_key_values=cache, use_cache=True)
        cache = made.past_key_values
        logits = made.logits[:, -1].float()
        if chances is None:
            chosen = logits.argmax(dim=-1)
        else:
            summed = torch.softmax(logits / temperature, dim=-1).double().cumsum(dim=-1)
            drawn = torch.as_tensor(chances[:, step : step + 1], device=summed.device)
            chosen = (summed < drawn * summed[:, -1:]).sum(dim=-1)
        following = chosen[:, None]
        whole = torch.cat([whole, following], dim=1)
    return whole


def _along(loaded: LoadedModel, axis: Axis, whole: Any, first: int) -> Floats:
    """(n, tokens from `first` on) scores of the axis."""
    import torch

    total = np.zeros((whole.shape[0], whole.shape[1] - first))
    squared = float((axis.vectors.astype(np.float64) ** 2).sum())

    def hear(site: str, layer: int, tensor: Any) -> None:
        place = axis.layers.index(layer)
        heard = tensor.movedim(1, 2).flatten(2) if tensor.ndim == 4 else tensor
        vector = torch.as_tensor(axis.vectors[place], device=heard.device).double()
        origin = torch.as_tensor(axis.origin[place], device=heard.device).double()
        total[...] += ((heard[:, first:].double() - origin) @ vector).cpu().numpy()

    with loaded.layout.listening({axis.site: list(axis.layers)}, hear):
        loaded.layout.base(input_ids=whole, use_cache=False)
    return total / squared if squared > 0 else np.full_like(total, NAN)


def _must_fit(loaded: LoadedModel, encoded: list[list[int]], n_tokens: int) -> None:
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    longest = max(map(len, encoded), default=0)
    if context is not None and longest + n_tokens > context:
        raise UserError(
            "following trajectories",
            found=f"a prompt of {longest} tokens and {n_tokens} steps",
            expected=f"at most {context} tokens together",
            fix="ask for fewer --steps",
        )


def _ends(loaded: LoadedModel) -> list[int]:
    told = getattr(loaded.model, "generation_config", None)
    ends = getattr(told, "eos_token_id", None)
    ends = loaded.tokenizer.eos_token_id if ends is None else ends
    return [] if ends is None else list(np.atleast_1d(ends))


def _progress(batches: list[list[int]]) -> Iterable[list[int]]:
    from tqdm import tqdm

    n = sum(map(len, batches))
    with tqdm(total=n, desc="trajectories", unit="prompt", disable=None) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
