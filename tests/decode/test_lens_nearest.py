"""Nearest embeddings, and a planted meaning that lens and nearest embeddings must both find."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from emo_harness.activations.capture import vectors
from emo_harness.activations.sites import layout_of
from emo_harness.decode.lens import logit_lens
from emo_harness.decode.nearest import nearest_embeddings
from emo_harness.errors import UserError
from tests.activations.models import ALL
from tests.decode.decoded_models import as_loaded, last_layer, loaded_kind, planted
from tests.prefix.tiny_models import build


@pytest.mark.parametrize("make", [logit_lens, nearest_embeddings])
@pytest.mark.parametrize("site", ["resid_post", "attn_out", "value"])
def test_a_planted_meaning_is_found(make, site: str) -> None:  # type: ignore[no-untyped-def]
    loaded = planted()
    said = pd.DataFrame({"text": ["w3 w11 w11 w7"]})
    read = vectors(loaded, said, sites=[site], position="last").values[site][:, 0]
    found = make(loaded, site).top(read, 0, 3)
    words = loaded.tokenizer.convert_ids_to_tokens(found.ids[0].tolist())
    # A layer's output is the token itself and the mean of all; attention adds that mean; the value
    # is the token alone.
    if site == "resid_post":
        assert words == ["w7", "w11", "w3"]
    elif site == "attn_out":
        assert words[0] == "w11"
        assert set(words) == {"w3", "w7", "w11"}
    else:
        assert words[0] == "w7"


def test_differences_of_planted_meanings_mean_their_difference() -> None:
    loaded = planted()
    said = pd.DataFrame({"text": ["w3 w5", "w4 w5"]})
    one, other = vectors(loaded, said, sites=["resid_post"]).values["resid_post"][:, 0]
    for decoder in (logit_lens(loaded), nearest_embeddings(loaded)):
        found = decoder.top((one - other)[None], 0, len(loaded.tokenizer))
        words = loaded.tokenizer.convert_ids_to_tokens(found.ids[0].tolist())
        assert (words[0], words[-1]) == ("w3", "w4")


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "opt_post_norm"])
def test_an_embedding_is_nearest_to_itself(kind: str) -> None:
    loaded = loaded_kind(kind)
    weights = loaded.layout.base.get_input_embeddings().weight.detach()
    found = nearest_embeddings(loaded).top(7.5 * weights[5:20].numpy(), 0, 1)
    assert found.ids[:, 0].tolist() == list(range(5, 20))
    np.testing.assert_allclose(found.logits, 1.0, rtol=1e-5)
    assert np.isnan(found.probabilities).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cosines_are_those_of_plain_arithmetic(dtype: torch.dtype) -> None:
    layout = layout_of(build("llama").to(dtype))
    read, _ = last_layer(layout)
    weights = layout.base.get_input_embeddings().weight.detach().double().numpy()
    expected = (
        read @ weights.T / np.outer(np.linalg.norm(read, axis=1), np.linalg.norm(weights, axis=1))
    )
    found = nearest_embeddings(as_loaded(layout)).top(read, 1, 4)
    np.testing.assert_allclose(found.logits, -np.sort(-expected, axis=1)[:, :4], rtol=1e-5)


def test_rows_of_zeros_are_near_to_nothing() -> None:
    layout = layout_of(build("llama"))
    with torch.no_grad():
        layout.base.get_input_embeddings().weight[1] = 0
    found = nearest_embeddings(as_loaded(layout)).top(np.ones((1, 32), np.float32), 0, 96)
    assert np.isfinite(found.logits).all()
    assert float(found.logits[0, found.ids[0].tolist().index(1)]) == 0.0


def test_a_vector_without_direction_is_refused() -> None:
    read = np.ones((2, 32), np.float32)
    read[1] = 0
    with pytest.raises(UserError, match="a vector of zeros"):
        nearest_embeddings(loaded_kind("llama")).top(read, 0, 1)


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="NaN or infinite"):
        nearest_embeddings(loaded_kind("llama")).top(np.full((1, 32), np.nan, np.float32), 0, 1)


def test_embeddings_of_another_width_are_refused() -> None:
    with pytest.raises(UserError, match="24 numbers"):
        nearest_embeddings(loaded_kind("opt_post_norm"))


def test_keys_are_refused() -> None:
    with pytest.raises(UserError, match="key"):
        nearest_embeddings(loaded_kind("llama"), "key")
