"""A model with random weights: another model, and the given one as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from emo_harness.activations.loading import load_language_model
from emo_harness.attribution.gradients import INPUT, INTEGRATED, NORM, attribute_tokens
from emo_harness.attribution.randomised import with_random_weights
from emo_harness.attribution.target import encode_targets
from emo_harness.errors import UserError
from tests.activations.models import ALL
from tests.attribution.models import as_loaded, fresh, shared, targets
from tests.prefix.tiny_models import build


def weights(loaded: object) -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in loaded.model.state_dict().items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ALL)
def test_the_given_model_is_left_as_it_was(kind: str) -> None:
    loaded = shared(kind)
    before, config = weights(loaded), loaded.model.config.to_dict()
    drawn = with_random_weights(loaded, 0)
    after = weights(loaded)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loaded.model.config.to_dict() == config
    assert drawn.tokenizer is loaded.tokenizer
    assert not {id(w) for w in drawn.model.parameters()} & {
        id(w) for w in loaded.model.parameters()
    }
    found = weights(drawn)
    assert {n: w.shape for n, w in found.items()} == {n: w.shape for n, w in before.items()}
    assert not drawn.model.training
    matrices = [name for name, w in before.items() if w.dim() > 1]
    assert not any(torch.allclose(found[name], before[name], atol=1e-3) for name in matrices)
    assert list(attribute_tokens(drawn, targets(), [NORM]))


def test_the_same_seed_draws_the_same_and_disturbs_no_other_draw() -> None:
    loaded = shared("llama")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = weights(with_random_weights(loaded, 1))
    assert torch.equal(torch.rand(3), expected)
    again, other = weights(with_random_weights(loaded, 1)), weights(with_random_weights(loaded, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_norms_begin_as_the_architecture_has_them_and_ties_hold() -> None:
    drawn = with_random_weights(fresh("llama_tied"), 0).model
    assert all(
        torch.equal(w, torch.ones_like(w)) for n, w in drawn.named_parameters() if "norm" in n
    )
    assert drawn.lm_head.weight is drawn.model.embed_tokens.weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtypes_are_those_of_the_given_model(dtype: torch.dtype) -> None:
    model = build("llama").to(dtype)
    model.model.norm.float()
    drawn = with_random_weights(as_loaded(model), 0)
    own = dict(model.named_parameters())
    assert all(w.dtype == own[name].dtype for name, w in drawn.model.named_parameters())
    assert drawn.facts.dtype == str(dtype).removeprefix("torch.")
    assert "random weights" in drawn.facts.name


def test_quantised_weights_are_refused() -> None:
    loaded = fresh("llama")
    loaded.model.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(UserError, match="quantised"):
        with_random_weights(loaded, 0)


def test_attributions_of_a_trained_model_do_not_outlast_its_training() -> None:
    loaded = load_language_model("emo-demo")
    asked = encode_targets(
        loaded.tokenizer,
        [
            ("The key is in the box. The box is in the room. Where is the key? A:", " box"),
            ("Your friend is sick. This is very important to my career. The room is", " cold"),
            ("True or false: the dog is behind the door. The dog is in the box. A:", " False"),
        ],
    )
    methods = (INTEGRATED, INPUT)
    trained = list(attribute_tokens(loaded, asked, methods))
    drawn = list(attribute_tokens(with_random_weights(loaded, 0), asked, methods))
    for method in methods:
        ranks = [
            spearmanr(one.scores[method], other.scores[method]).statistic
            for one, other in zip(trained, drawn, strict=True)
        ]
        assert abs(float(np.mean(ranks))) < 0.5
