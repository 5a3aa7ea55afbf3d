"""What is captured is what the model computes, prompt by prompt, whichever engine computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emo_harness.activations.capture import Work, capture, vectors
from emo_harness.activations.encoding import encode_prompts
from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.row_reader import RowReader
from emo_harness.errors import UserError
from emo_harness.lm_models.prompt_encoder import PromptEncoder
from emo_harness.prefix import build_trie
from tests.activations.loaded import WORDS, loaded, prompts, shared
from tests.lm_models.local_models import tokenizer

TOLERANCE = 2e-5
SITES = ("value", "key", "attn_out", "mlp_out", "resid_pre", "resid_post")
KINDS = ("gpt2", "gpt_neox", "llama", "qwen3", "opt", "phi", "gemma3_text", "bloom", "gemma2")


def alone(model: LoadedModel, text: str) -> dict[str, Any]:
    """One prompt in a forward pass of its own: its cache and its residual stream."""
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        found = model.model(ids, use_cache=True, output_hidden_states=True)
    layers = found.past_key_values.layers
    return {
        "key": torch.stack([layer.keys[0].transpose(0, 1) for layer in layers], dim=1).numpy(),
        "value": torch.stack([layer.values[0].transpose(0, 1) for layer in layers], dim=1).numpy(),
        "resid_pre": torch.stack([h[0] for h in found.hidden_states[:-1]], dim=1).numpy(),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", ["last", "span", "mean", "within", "all"])
def test_vectors_are_those_of_the_prompt_alone(kind: str, position: str) -> None:
    model, table = shared(kind), prompts(n_templates=2)
    found = vectors(model, table, sites=("value", "key", "resid_pre"), position=position)
    encoded = encode_prompts(model.tokenizer, table)
    assert found.index["prompt"].is_monotonic_increasing
    for prompt, rows in found.index.groupby("prompt"):
        expected = alone(model, table["text"][prompt])
        first, after = encoded.spans[prompt]
        wanted = {
            "last": lambda x: x[-1:],
            "span": lambda x, after=after: x[after - 1 : after],
            "mean": lambda x, first=first, after=after: x[first:after].mean(axis=0, keepdims=True),
            "within": lambda x, first=first, after=after: x[first:after],
            "all": lambda x: x,
        }[position]
        for site, values in expected.items():
            gap = np.abs(found.values[site][rows.index] - wanted(values)).max()
            assert gap <= TOLERANCE * max(1, np.abs(values).max()), (site, prompt)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "gemma3_text", "stablelm_parallel"])
@pytest.mark.parametrize("position", ["last", "mean", "within", "all"])
def test_both_engines_read_the_same_at_every_site(kind: str, position: str) -> None:
    model, table = shared(kind), prompts()
    packed, padded = (
        vectors(
            model, table, sites=SITES, layers=[1], position=position, packed=way, batch_tokens=24
        )
        for way in (True, False)
    )
    pd.testing.assert_frame_equal(packed.index, padded.index)
    for site in SITES:
        np.testing.assert_allclose(packed.values[site], padded.values[site], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "engine"), [("gpt2", "packed"), ("bloom", "padded"), ("gemma2", "padded")]
)
def test_only_models_that_can_be_packed_are(kind: str, engine: str) -> None:
    reader = RowReader(shared(kind), ["value"], [0], longest=9)
    assert reader.engine == engine
    assert (reader.why_padded is None) == (engine == "packed")


def test_prompts_beyond_the_attention_window_are_not_packed() -> None:
    reader = RowReader(shared("gemma3_text"), ["value"], [0], longest=101)
    assert reader.engine == "padded"
    assert "window" in str(reader.why_padded)


def test_a_model_that_packs_otherwise_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_harness.activations import engines

    def spoilt(self: Any, *args: Any) -> torch.Tensor:
        return torch.zeros_like(args[1])

    monkeypatch.setattr(engines.PathAttention, "attend", spoilt)
    reader = RowReader(loaded("gpt2"), ["resid_post"], [0, 1], longest=9)
    assert reader.engine == "padded"
    assert "is off by" in str(reader.why_padded)


def test_shared_beginnings_and_repeated_prompts_are_computed_once(tmp_path: Any) -> None:
    model, table, work = shared("gpt2"), prompts(), Work()
    capture(model, table, tmp_path, work=work, progress=False)
    tokens = [np.array(ids, np.int32) for ids in model.tokenizer(list(table["text"]))["input_ids"]]
    assert work.computed_tokens == work.distinct_tokens == build_trie(tokens)[0].n_tokens
    assert work.naive_tokens == sum(map(len, tokens))


def test_padded_batches_compute_repeated_prompts_once() -> None:
    model, table = shared("gpt2"), prompts()
    once, twice = (
        RowReader(model, ["value"], [0], longest=40, packed=False, batch_tokens=1) for _ in range(2)
    )
    from emo_harness.activations.prompt_rows import prompt_rows

    for reader, some in ((once, table.drop_duplicates("text")), (twice, table)):
        reader.read(*prompt_rows(model, some, "last").part(slice(None)), "float32")
    assert once.computed_tokens == twice.computed_tokens


@pytest.mark.parametrize("packed", [True, False])
def test_nothing_behind_the_last_wanted_site_is_computed(packed: bool) -> None:
    model = loaded("gpt2")
    called: set[str] = set()
    for name, module in model.model.named_modules():
        module.register_forward_hook(lambda *args, name=name: called.add(name))
    vectors(model, prompts(), layers=[0], packed=packed)
    assert "transformer.h.0.attn.c_attn" in called
    assert not any("h.1" in name or "mlp" in name for name in called)
    assert "lm_head" not in called


def test_a_pass_without_memory_is_tried_again_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_harness.activations.engines import SiteReader

    model, table = shared("gpt2"), prompts()
    expected = vectors(model, table)
    plain, sizes = SiteReader.read, []

    def scarce(self: Any, lines: Any, tokens: Any, forward: Any, **kwargs: Any) -> Any:
        sizes.append(len(tokens))
        if len(tokens) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return plain(self, lines, tokens, forward, **kwargs)

    monkeypatch.setattr(SiteReader, "read", scarce)
    found = vectors(model, table, packed=False, batch_tokens=512)
    assert max(sizes) > 4
    np.testing.assert_allclose(found.values["value"], expected.values["value"], atol=TOLERANCE)


def test_no_memory_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_harness.activations.engines import SiteReader

    def none_left(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(SiteReader, "read", none_left)
    with pytest.raises(UserError, match="no memory left"):
        vectors(shared("gpt2"), prompts(), packed=False)


@pytest.mark.parametrize("adds_bos", [True, False])
def test_tokens_are_those_that_the_host_would_ask_with(adds_bos: bool) -> None:
    tokens = tokenizer(adds_bos)
    texts = ["The key", "<s>The key", "naïve café, größer", " behind "]
    expected = PromptEncoder(tokens, None, 0).prompts(texts, truncation=False)
    found = encode_prompts(tokens, pd.DataFrame({"text": texts}))
    assert [one.tolist() for one in found.tokens] == [expected[text] for text in texts]


class _WithoutOffsets:
    """A tokenizer that does not tell where its tokens lie."""

    is_fast = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.bos_token = inner.bos_token
        self.all_special_ids = inner.all_special_ids

    def __call__(self, texts: list[str], **kwargs: Any) -> Any:
        assert "return_offsets_mapping" not in kwargs
        return self._inner(texts, **kwargs)


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_span_is_where_its_characters_are(adds_bos: bool) -> None:
    first_word = _texts("key to", span_first=[0], span_last=[3], word=["key"])
    tokens, table = tokenizer(adds_bos), pd.concat([prompts(), first_word], ignore_index=True)
    fast = encode_prompts(tokens, table)
    for index, (first, after) in enumerate(fast.spans):
        text = tokens.decode(fast.tokens[index][first:after])
        assert text.strip() == table["word"][index]
    slow = encode_prompts(_WithoutOffsets(tokens), table)
    np.testing.assert_array_equal(slow.spans, fast.spans)


def test_a_span_that_a_token_joins_with_what_follows_is_refused_without_offsets() -> None:
    table = pd.DataFrame({"text": ["important"], "span_first": [0], "span_last": [3]})
    with pytest.raises(UserError, match="no tokens that are those of 'imp'"):
        encode_prompts(_WithoutOffsets(tokenizer()), table)


def _texts(*texts: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"text": list(texts), **columns})


@pytest.mark.parametrize(
    ("table", "settings", "told"),
    [
        (_texts(), {}, "no prompts"),
        (pd.DataFrame({"words": ["a"]}), {}, "without the column `text`"),
        (_texts("a", 3), {}, "no text"),
        (_texts("a", ""), {}, "without tokens"),
        (_texts("a", "key " * 400), {}, "at most 160"),
        (_texts("the key"), {"position": "span"}, "without a span"),
        (_texts("the key", span_first=[4], span_last=[9]), {}, "characters 4 to 9"),
        (_texts("the key", span_first=[4], span_last=[4]), {}, "characters 4 to 4"),
        (_texts("the key", prompt=[1]), {}, "columns named prompt"),
        (_texts("the key", "the box", id=[1, "a"]), {}, "reading facts"),
        (_texts("the key"), {"position": "first"}, "position 'first'"),
        (_texts("the key"), {"sites": ["values"]}, "no such site"),
        (_texts("the key"), {"sites": []}, "no site"),
        (_texts("the key"), {"layers": []}, "no layer"),
        (_texts("the key"), {"layers": [2]}, "layer 2"),
    ],
)
def test_what_cannot_be_captured_is_told_before_anything_is_computed(
    table: pd.DataFrame, settings: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shared("gpt2")
    monkeypatch.setattr(RowReader, "read", lambda *args: pytest.fail("computed"))
    with pytest.raises(UserError, match=told):
        vectors(model, table, **settings)


def test_a_tokenizer_of_another_model_is_refused() -> None:
    model = loaded("gpt2", vocab_size=300)
    with pytest.raises(UserError, match="belongs to the model"):
        vectors(model, _texts("Your friend is important"))


@pytest.mark.parametrize("packed", [True, False])
def test_activations_that_are_not_finite_name_prompt_site_and_layer(packed: bool) -> None:
    model = loaded("gpt2")
    word = model.tokenizer(" key")["input_ids"][-1]
    with torch.no_grad():
        model.model.get_input_embeddings().weight[word] = torch.nan
    table = _texts("the room", "the box key", "the door")
    with pytest.raises(UserError, match=r"(?s)prompt 1 .*box key.*value of layer 0 is NaN"):
        vectors(model, table, packed=packed)


def test_what_overflows_in_storage_says_how_to_store_it(tmp_path: Any) -> None:
    model = loaded("gpt2")
    with torch.no_grad():
        model.model.transformer.wte.weight *= 1e6
    with pytest.raises(UserError, match=r"(?s)which float16 cannot hold.*--dtype bfloat16"):
        capture(model, prompts(), tmp_path, sites=["resid_post"], progress=False)
    found = capture(
        model, prompts(), tmp_path, sites=["resid_post"], dtype="bfloat16", progress=False
    )
    assert np.isfinite(found.read("resid_post")).all()


def test_the_words_of_prompts_come_with_their_static_embeddings(tmp_path: Any) -> None:
    model, table = shared("llama"), prompts()
    found = capture(model, table, tmp_path, progress=False)
    embeddings = found.span_embeddings()
    assert embeddings is not None
    encoded = encode_prompts(model.tokenizer, table)
    weights = model.model.get_input_embeddings().weight.detach().numpy()
    for row in found.index.itertuples():
        first, after = encoded.spans[row.prompt]
        expected = weights[encoded.tokens[row.prompt][first:after]].mean(axis=0)
        np.testing.assert_allclose(embeddings[row.span_id], expected, rtol=1e-5)
        assert row.span_tokens == after - first
    assert len(embeddings) <= 2 * len(WORDS)
