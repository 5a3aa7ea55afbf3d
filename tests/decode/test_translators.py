"""Translators: a known affine map is recovered, held-out texts are read better, files are exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import layout_of
from emo_harness.decode import translator_fit
from emo_harness.decode.lens import logit_lens
from emo_harness.decode.translator_fit import PENALTIES, fit_translators
from emo_harness.decode.translators import (
    LayerFit,
    Translators,
    facts_of,
    load_translators,
    save_translators,
    tuned_lens,
)
from emo_harness.errors import UserError
from tests.activations.models import model_of
from tests.decode.decoded_models import as_loaded, read
from tests.lm_models.local_models import word_tokenizer
from tests.prefix.live_bytes import LiveBytes

WIDTH = 32


def texts(n_texts: int = 40, n_words: int = 12, seed: int = 0) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).integers(0, 90, (n_texts, n_words))
    return pd.DataFrame({"text": [" ".join(f"w{i}" for i in line) for line in drawn.tolist()]})


def affine_maps(n_layers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [
        (
            torch.eye(WIDTH) + 0.15 * torch.randn(WIDTH, WIDTH, generator=generator),
            torch.randn(WIDTH, generator=generator),
        )
        for _ in range(n_layers)
    ]


def model_of_affine_layers() -> LoadedModel:
    """Each layer gives A x + b of its token alone."""
    model = model_of("cohere")
    for layer, (matrix, bias) in zip(model.model.layers, affine_maps(3), strict=True):

        def forward(
            states: torch.Tensor, a: torch.Tensor = matrix, b: torch.Tensor = bias, **_: Any
        ) -> torch.Tensor:
            return states @ a.T + b

        layer.forward = forward
    return as_loaded(layout_of(model), word_tokenizer(90))


def random_llama(seed: int = 0, kind: str = "llama") -> LoadedModel:
    return as_loaded(layout_of(model_of(kind, seed)), word_tokenizer(90))


def fitted(loaded: LoadedModel, seed: int = 0, **arguments: Any) -> Translators:
    rng = np.random.default_rng(seed)
    return fit_translators(loaded, texts(), rng, progress=False, **arguments)


def test_a_known_affine_map_is_recovered() -> None:
    loaded = model_of_affine_layers()
    found = fitted(loaded)
    (_, _), (a1, b1), (a2, b2) = affine_maps(3)
    expected = {0: (a2 @ a1, a2 @ b1 + b2), 1: (a2, b2)}
    for layer, (matrix, bias) in expected.items():
        np.testing.assert_allclose(found.matrices[layer], matrix.numpy(), atol=1e-2)
        np.testing.assert_allclose(found.biases[layer], bias.numpy(), atol=2e-2)
        fit = found.fits[layer]
        assert fit.helps
        assert fit.kl_plain > 100 * fit.kl_translated
        assert fit.kl_translated < 1e-4


def test_a_known_map_is_recovered_from_the_stream_before_the_layers() -> None:
    found = fitted(model_of_affine_layers(), site="resid_pre", layers=[2])
    ((matrix, bias),) = affine_maps(3)[2:]
    np.testing.assert_allclose(found.matrices[0], matrix.numpy(), atol=1e-2)
    np.testing.assert_allclose(found.biases[0], bias.numpy(), atol=2e-2)


def test_the_last_layer_needs_no_translator() -> None:
    loaded = random_llama()
    found = fitted(loaded)
    assert np.array_equal(found.matrices[-1], np.eye(WIDTH))
    assert not found.biases[-1].any()
    assert (found.fits[-1].penalty, found.fits[-1].kl_plain) == (None, 0.0)
    assert found.layers[-1] not in found.unhelpful


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "opt", "granite"])
def test_held_out_texts_are_read_no_worse_than_by_the_plain_lens(kind: str) -> None:
    found = fitted(random_llama(kind=kind))
    for fit in found.fits:
        assert fit.kl_translated <= fit.kl_plain * 1.02
    assert found.fits[0].helps


def test_reported_divergences_are_those_of_plain_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the texts that were held out for the report, first tokens left out."""
    seen: list[pd.DataFrame] = []
    plain = translator_fit._Stream.some

    def some(stream: Any, part: pd.DataFrame) -> Any:
        seen.append(part)
        return plain(stream, part)

    monkeypatch.setattr(translator_fit._Stream, "some", some)
    loaded = random_llama()
    found = fitted(loaded)
    lens, tuned = logit_lens(loaded), tuned_lens(loaded, found)
    expected = {"plain": [], "tuned": []}
    for text in seen[1]["text"]:
        ids = torch.tensor([loaded.tokenizer.encode(text)])
        states, logits = read(loaded.layout, "resid_post", 0, ids)
        states, own = states[1:], logits[1:].double().log_softmax(-1)
        for name, decoder in (("plain", lens), ("tuned", tuned)):
            top = decoder.top(states, 0, own.shape[1])
            of_lens = np.empty_like(top.probabilities)
            np.put_along_axis(of_lens, top.ids, top.probabilities, axis=1)
            share = own.exp().numpy()
            expected[name] += (share * (own.numpy() - np.log(of_lens))).sum(axis=1).tolist()
    assert found.fits[0].kl_plain == pytest.approx(np.mean(expected["plain"]), rel=1e-4)
    assert found.fits[0].kl_translated == pytest.approx(np.mean(expected["tuned"]), rel=1e-4)


def test_batches_do_not_change_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = random_llama()
    whole = fitted(loaded)
    monkeypatch.setattr(translator_fit, "BATCH_BYTES", 20_000)
    parts = fitted(loaded)
    np.testing.assert_allclose(parts.matrices, whole.matrices, atol=2e-3)


def test_memory_does_not_grow_with_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = random_llama()
    monkeypatch.setattr(translator_fit, "BATCH_BYTES", 100_000)
    peaks = []
    for n_texts in (60, 240):
        with LiveBytes() as live:
            fit_translators(
                loaded, texts(n_texts), np.random.default_rng(0), layers=[0], progress=False
            )
        peaks.append(live.peak)
    assert peaks[1] < 1.3 * peaks[0]


def test_the_same_seed_gives_the_same_translators_and_bytes(tmp_path: Path) -> None:
    loaded = random_llama()
    for name in ("one", "other"):
        save_translators(tmp_path / name, fitted(loaded))
    save_translators(tmp_path / "again", load_translators(tmp_path / "one", loaded))
    written = {name: (tmp_path / name).read_bytes() for name in ("one", "other", "again")}
    assert len(set(written.values())) == 1


def test_what_was_loaded_decodes_as_what_was_saved(tmp_path: Path) -> None:
    loaded = random_llama()
    found = fitted(loaded)
    save_translators(tmp_path / "t.safetensors", found)
    again = load_translators(tmp_path / "t.safetensors", loaded)
    assert again.fits == found.fits
    vectors = np.random.default_rng(1).standard_normal((4, WIDTH), np.float32)
    one, other = (tuned_lens(loaded, t).top(vectors, 0, 5) for t in (found, again))
    assert np.array_equal(one.ids, other.ids)
    assert np.array_equal(one.logits, other.logits)


def test_the_tuned_lens_is_the_logit_lens_of_what_was_translated() -> None:
    loaded = random_llama()
    found = fitted(loaded)
    vectors = np.random.default_rng(1).standard_normal((4, WIDTH), np.float32)
    translated = vectors @ found.matrices[0].T + found.biases[0]
    tuned = tuned_lens(loaded, found).top(vectors, 0, 5)
    plain = logit_lens(loaded).top(translated, 1, 5)
    assert np.array_equal(tuned.ids, plain.ids)
    np.testing.assert_allclose(tuned.probabilities, plain.probabilities, rtol=1e-4)


def test_layers_where_no_translator_helps_are_named() -> None:
    loaded = random_llama()
    fits = (LayerFit(1.0, 2.0, 1.0), LayerFit(None, 2.0, 2.0), LayerFit(None, 0.0, 0.0))
    eye = np.tile(np.eye(WIDTH, dtype=np.float32), (3, 1, 1))
    found = Translators(
        "resid_post", (0, 1, 2), eye, np.zeros((3, WIDTH), np.float32), fits, facts_of(loaded)
    )
    assert found.unhelpful == (1,)


def test_a_large_penalty_leads_to_no_translation() -> None:
    sums = translator_fit._Sums(4, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, generator=generator)
    sums.add(x, 3 * x)
    tight, loose = (sums.solved(penalty)[0] for penalty in (1e12, min(PENALTIES)))
    assert torch.allclose(tight, torch.eye(4), atol=1e-4)
    assert torch.allclose(loose, 3 * torch.eye(4), atol=1e-4)


def test_translators_of_another_model_are_refused(tmp_path: Path) -> None:
    found = fitted(random_llama())
    save_translators(tmp_path / "t", found)
    other = random_llama(seed=1)
    with pytest.raises(UserError, match="id weights"):
        load_translators(tmp_path / "t", other)
    with pytest.raises(UserError, match="id weights"):
        tuned_lens(other, found)
    with pytest.raises(UserError, match="n_layers"):
        tuned_lens(random_llama(kind="cohere"), found)


def test_a_layer_without_translator_is_refused() -> None:
    loaded = random_llama()
    lens = tuned_lens(loaded, fitted(loaded, layers=[1]))
    with pytest.raises(UserError, match="layers 1"):
        lens.top(np.ones((1, WIDTH), np.float32), 0, 1)


@pytest.mark.parametrize("site", ["value", "key", "resid"])
def test_only_the_residual_stream_is_translated(site: str) -> None:
    with pytest.raises(UserError, match="site"):
        fitted(random_llama(), site=site)


def test_too_few_texts_are_refused() -> None:
    same = pd.DataFrame({"text": ["w1 w2"] * 50 + ["w1"]})
    with pytest.raises(UserError, match="1 different texts"):
        fit_translators(random_llama(), same, np.random.default_rng(0))


def test_a_text_that_is_too_long_is_named_by_its_line() -> None:
    table = texts()
    table.loc[17, "text"] = "w1 " * 1000
    with pytest.raises(UserError, match="prompt 17"):
        fit_translators(random_llama(), table, np.random.default_rng(0))


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "t.safetensors"
    if content is None:
        save_file({"matrices": np.ones((1, 2, 2), np.float32)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="translators"):
        load_translators(path, random_llama())
    with pytest.raises(UserError, match="no such file"):
        load_translators(tmp_path / "absent", random_llama())
