"""What is averaged over stimuli, against plain hidden states; and what the controls are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.activations.loading import LoadedModel, load_language_model
from emo_harness.decode.family_vectors import (
    averaged,
    contrasted,
    family_vector,
    generator,
    permuted,
    random_like,
)
from emo_harness.decode.layer_vectors import LayerVectors
from emo_harness.decode.meta_prompt import DecodeSettings
from emo_harness.decode.pooling import PooledStimuli, read_stimuli
from emo_harness.decode.stimulus_prompts import (
    PLACEBO,
    StimulusPrompt,
    content_length,
    placed_alone,
    placed_behind,
)
from emo_harness.errors import UserError
from emo_harness.stimuli import Stimulus
from emo_harness.stimuli.decoding import Pooling
from tests.lm_models.local_models import saved

LAYER = 0
TEXTS = {
    "a1": 'He said "you failed again."',
    "a2": "This is very important to my career!",
    "a3": "Your friend is sick.",
}
PLACEBOS = {"p1": "The key is behind the door.", "p2": "A box, a key and the room."}


@pytest.fixture(scope="module", params=[False, True], ids=["without BOS", "with BOS"])
def loaded(request: Any, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("model")
    return load_language_model(str(saved(folder, "llama", adds_bos=request.param)))


def stimuli(texts: dict[str, str], family: str) -> tuple[Stimulus, ...]:
    return tuple(Stimulus(id=name, text=text, family=family) for name, text in texts.items())


def placed() -> list[StimulusPrompt]:
    return placed_alone({"a": stimuli(TEXTS, "a")}, stimuli(PLACEBOS, "placebo"))


def read(loaded: LoadedModel, pooling: Pooling, prompts: Any = None) -> PooledStimuli:
    prompts = placed() if prompts is None else prompts
    return read_stimuli(loaded, prompts, site="resid_post", layers=[LAYER], pooling=pooling)


def plain(
    loaded: LoadedModel, text: str, first: int = 0, last: int | None = None
) -> tuple[np.ndarray, list[str]]:
    """Hidden states behind layer 0 of the tokens of text[first:last], and these characters."""
    encoded = loaded.tokenizer(text, return_offsets_mapping=True)
    ids = torch.tensor([encoded.input_ids])
    with torch.no_grad():
        states = loaded.model(ids, output_hidden_states=True).hidden_states[LAYER + 1][0]
    last = len(text) if last is None else last
    kept = [
        (i, text[a:b])
        for i, (a, b) in enumerate(encoded.offset_mapping)
        if a < last and b > first and b > a
    ]
    return states[[i for i, _ in kept]].numpy(), [word for _, word in kept]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('He said "no."', 'He said "no'),
        ("Are you sure?!", "Are you sure"),
        ("She’s here…”", "She’s here"),
        ("rated 7/10.", "rated 7/10"),
        ("你好。", "你好"),
        ("यह ठीक है।", "यह ठीक है"),
        ("Well done 🙂!", "Well done 🙂"),
        ("plain", "plain"),
    ],
)
def test_content_ends_before_closing_punctuation(text: str, content: str) -> None:
    assert text[: content_length(text)] == content


@pytest.mark.parametrize("text", ["...", '"!?"', "…", "— ."])
def test_punctuation_alone_has_no_content(text: str) -> None:
    with pytest.raises(UserError, match="content token"):
        content_length(text)


def test_content_is_the_token_of_the_last_letter(loaded: LoadedModel) -> None:
    pooled = read(loaded, "content")
    for name, text in TEXTS.items():
        states, words = plain(loaded, text)
        letters = [i for i, word in enumerate(words) if any(c.isalnum() for c in word)]
        close(pooled.vectors("a", name)[:, 0], states[letters[-1:]])
        assert letters[-1] < len(words) - 1, "these texts end in a full stop of its own"


def test_mean_is_over_the_stimulus_without_bos(loaded: LoadedModel) -> None:
    pooled = read(loaded, "mean")
    for name, text in TEXTS.items():
        states, words = plain(loaded, text)
        assert "".join(words) == text
        close(pooled.vectors("a", name)[0, 0], states.mean(axis=0))


def test_positions_are_every_token_in_order(loaded: LoadedModel) -> None:
    pooled = read(loaded, "positions")
    for name, text in TEXTS.items():
        close(pooled.vectors("a", name)[:, 0], plain(loaded, text)[0])


def test_placebos_are_read_for_their_sources_and_for_themselves(loaded: LoadedModel) -> None:
    pooled = read(loaded, "mean")
    assert pooled.stimuli("a") == [*TEXTS, *PLACEBOS]
    assert pooled.stimuli(PLACEBO) == list(PLACEBOS)
    for name in PLACEBOS:
        assert np.array_equal(pooled.vectors("a", name), pooled.vectors(PLACEBO, name))


@pytest.mark.parametrize("pooling", ["content", "mean", "positions"])
def test_behind_instructions_it_is_the_mean_over_them(
    loaded: LoadedModel, pooling: Pooling
) -> None:
    instructions = ["Is this true or false?\n\n", "Options"]
    prompts = placed_behind(instructions, {"a": stimuli(TEXTS, "a")}, ())
    pooled = read(loaded, pooling, prompts)
    for name, text in TEXTS.items():
        found = []
        for instruction in instructions:
            start = f"{instruction.rstrip()} "
            whole = start + text
            after = len(whole) if pooling != "content" else len(start) + content_length(text)
            states, _ = plain(loaded, whole, len(start), after)
            by = {"content": states[-1:], "mean": states.mean(axis=0)[None], "positions": states}
            found.append(by[pooling])
        close(pooled.vectors("a", name)[:, 0], np.mean(found, axis=0))


def test_an_instruction_must_say_something() -> None:
    for instructions in ([], ["\n"]):
        with pytest.raises(UserError, match="instruction"):
            placed_behind(instructions, {"a": stimuli(TEXTS, "a")}, ())


def test_a_token_that_holds_a_character_of_the_stimulus_is_its_own(loaded: LoadedModel) -> None:
    text = "box. The key"
    merged = [StimulusPrompt("x", text, 5, 8, ("a",))]
    states, words = plain(loaded, text, 5, 8)
    assert words[0].startswith(" "), "the space before the stimulus is in its first token"
    close(read(loaded, "positions", merged).vectors("a", "x")[:, 0], states)


@pytest.mark.parametrize("pooling", ["content", "positions"])
def test_portions_do_not_change_what_is_read(
    loaded: LoadedModel, pooling: Pooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(loaded, pooling)
    monkeypatch.setattr("emo_harness.decode.pooling.PORTION_BYTES", 1)
    parts = read(loaded, pooling)
    for name in (*TEXTS, *PLACEBOS):
        close(parts.vectors("a", name), whole.vectors("a", name))


def test_no_prompt_is_told(loaded: LoadedModel) -> None:
    with pytest.raises(UserError, match="no stimulus"):
        read(loaded, "mean", [])


def ragged(lengths: Sequence[int]) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal((n, 2, 5)).astype(np.float32) for n in lengths]


def test_a_position_averages_those_that_have_it_until_fewer_than_half_do() -> None:
    vectors = ragged([2, 5, 3, 9])
    found = averaged(vectors)
    assert found.counts == (4, 4, 3, 2, 2)
    close(found.values[0], sum(v[0] for v in vectors) / 4)
    close(found.values[2], (vectors[1][2] + vectors[2][2] + vectors[3][2]) / 3)
    close(found.values[4], (vectors[1][4] + vectors[3][4]) / 2)


def test_a_contrast_ends_where_either_side_does() -> None:
    family, placebos = ragged([4, 4, 6]), ragged([2, 3])
    found = family_vector(family, placebos, "contrast")
    assert found.counts == (3, 3, 3), "one of two placebos is half of them"
    close(found.values, averaged(family).values[:3] - averaged(placebos).values[:3])
    close(
        contrasted(averaged(family), averaged(family)).values,
        np.zeros_like(averaged(family).values),
    )


def test_of_one_stimulus_the_mean_is_the_stimulus() -> None:
    pooled = PooledStimuli((0, 1))
    (one,) = ragged([3])
    pooled.add("a", "x", one)
    vectors = {
        kind: next(v for v in LayerVectors(pooled, ["a"], settings).at(1) if v.kind == "meta")
        for kind in ("mean", "each")
        if (settings := DecodeSettings(pooling="positions", vector=kind))  # type: ignore[arg-type]
    }
    assert np.array_equal(vectors["mean"].vectors, vectors["each"].vectors)
    assert np.array_equal(vectors["each"].vectors, one[:, 1])
    assert vectors["each"].vector == "x"


def test_labels_dealt_anew_keep_their_numbers_and_differ() -> None:
    family, placebos = ragged([1] * 2), ragged([1] * 1)
    for seed in range(20):
        dealt = permuted(family, placebos, np.random.default_rng(seed))
        assert dealt is not None
        stimuli_dealt, placebos_dealt = dealt
        assert (len(stimuli_dealt), len(placebos_dealt)) == (2, 1)
        everyone = sorted(float(v.sum()) for v in (*stimuli_dealt, *placebos_dealt))
        assert everyone == sorted(float(v.sum()) for v in (*family, *placebos))
        assert placebos_dealt[0] is not placebos[0]
    assert permuted(family, [], np.random.default_rng(0)) is None


def test_random_vectors_are_as_long_and_elsewhere() -> None:
    vectors = np.stack([np.full((2, 4), 3.0), np.full((2, 4), 0.5)]).astype(np.float32)
    drawn = random_like(vectors, np.random.default_rng(0))
    close(
        np.linalg.norm(drawn.reshape(2, -1), axis=1), np.linalg.norm(vectors.reshape(2, -1), axis=1)
    )
    cosine = float((drawn[0] * vectors[0]).sum() / np.linalg.norm(vectors[0]) ** 2)
    assert abs(cosine) < 0.9


def pooled_families(layers: tuple[int, ...] = (3, 5)) -> PooledStimuli:
    """Two families and placebos; a layer's vectors do not depend on the other layers."""
    pooled = PooledStimuli(layers)
    for group, names in {"a": "wxyz", "b": "uv", PLACEBO: "pqr"}.items():
        for name in names:
            rows = [generator(1, f"{group}{name}", n).standard_normal((1, 6)) for n in layers]
            vector = np.stack(rows, axis=1).astype(np.float32)
            for also in {"a", "b", PLACEBO} if group == PLACEBO else {group}:
                pooled.add(also, name, vector)
    return pooled


def by_name(pooled: PooledStimuli, place: int, **settings: Any) -> dict[Any, Any]:
    found = LayerVectors(pooled, ["a", "b"], DecodeSettings(**settings)).at(place)
    return {(one.source, one.kind, one.draw): one for one in found}


def test_every_source_has_its_controls() -> None:
    found = by_name(pooled_families(), 1, n_random=2, n_permuted=3)
    assert set(found) == {
        (PLACEBO, "neutral", 0),
        *((s, "meta", 0) for s in "ab"),
        *((s, "random", n) for s in "ab" for n in range(2)),
        *((s, "permuted", n) for s in "ab" for n in range(3)),
    }
    for (source, kind, _), one in found.items():
        assert one.control_of == (source if kind in ("random", "permuted") else None)
    for source in "ab":
        own = np.linalg.norm(found[source, "meta", 0].vectors)
        for draw in range(2):
            close(np.linalg.norm(found[source, "random", draw].vectors), own)


def test_of_one_stimulus_and_one_placebo_labels_are_dealt_anew_once() -> None:
    pooled = PooledStimuli((0,))
    for number, (group, name) in enumerate((("a", "x"), ("a", "p"), (PLACEBO, "p"))):
        pooled.add(group, name, np.full((1, 1, 6), min(number, 1), np.float32))
    vectors = LayerVectors(pooled, ["a"], DecodeSettings(n_permuted=3))
    found = {(one.kind, one.draw): one.vectors for one in vectors.at(0)}
    assert {draw for kind, draw in found if kind == "permuted"} == {0}
    close(found["permuted", 0], -found["meta", 0])
    assert any("of 3 deals of labels 1 are different" in told for told in vectors.remarks)


def test_the_contrast_is_the_family_minus_the_placebos() -> None:
    pooled = pooled_families()
    found = by_name(pooled, 0)
    family = np.mean([pooled.vectors("a", n)[0, 0] for n in "wxyz"], axis=0)
    neutral = np.mean([pooled.vectors(PLACEBO, n)[0, 0] for n in "pqr"], axis=0)
    close(found["a", "meta", 0].vectors[0], family - neutral)
    close(found[PLACEBO, "neutral", 0].vectors[0], neutral)
    assert found["a", "meta", 0].is_difference and not found[PLACEBO, "neutral", 0].is_difference


def test_more_controls_or_layers_do_not_change_the_others() -> None:
    few = by_name(pooled_families(), 1)
    more = by_name(pooled_families((0, 3, 5)), 2, n_random=4, n_permuted=4)
    for key, one in few.items():
        assert np.array_equal(more[key].vectors, one.vectors), key
    other = by_name(pooled_families(), 1, seed=1)
    for key, one in few.items():
        is_random = key[1] in ("random", "permuted")
        assert np.array_equal(other[key].vectors, one.vectors) is not is_random, key


def test_a_contrast_needs_placebos() -> None:
    pooled = PooledStimuli((0,))
    pooled.add("a", "x", np.ones((1, 1, 4), np.float32))
    with pytest.raises(UserError, match="neutral placebo"):
        LayerVectors(pooled, ["a"], DecodeSettings())
    alone = LayerVectors(pooled, ["a"], DecodeSettings(vector="mean"))
    assert {one.kind for one in alone.at(0)} == {"meta", "random"}
    assert any("no neutral placebo" in remark for remark in alone.remarks)


def test_single_stimuli_share_random_vectors_of_their_mean_length() -> None:
    pooled = pooled_families()
    found = list(LayerVectors(pooled, ["a"], DecodeSettings(vector="each")).at(0))
    own = [one for one in found if one.kind == "meta"]
    assert [one.vector for one in own] == list("wxyz")
    (drawn,) = [one for one in found if one.kind == "random"]
    lengths = [np.linalg.norm(one.vectors) for one in own]
    close(np.linalg.norm(drawn.vectors), np.mean(lengths))


def test_the_placebos_text_is_no_longer_than_those_beside_it() -> None:
    pooled = PooledStimuli((0,))
    rng = np.random.default_rng(0)
    for group, n in (("a", 3), ("a", 4), (PLACEBO, 50), (PLACEBO, 60)):
        pooled.add(group, f"{group}{n}", rng.standard_normal((n, 1, 4)).astype(np.float32))
    settings = DecodeSettings(pooling="positions", vector="mean")
    found = {one.kind: one for one in LayerVectors(pooled, ["a"], settings).at(0)}
    assert len(found["meta"].counts) == len(found["neutral"].counts) == 4


def test_a_prompt_beyond_the_context_is_refused(loaded: LoadedModel) -> None:
    long = StimulusPrompt("x", "sick " * 400, 0, 4, ("a",))
    with pytest.raises(UserError, match="the model's context"):
        read(loaded, "mean", [long])
