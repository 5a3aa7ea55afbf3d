"""What the demo's image models learn from: facts, captions, held-out compositions, tokens."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS, caption_tokenizer
from emo_harness.demo.captions import (
    TEMPLATES,
    UNCLAIMED,
    WORDS,
    facts,
    is_true,
    random_caption,
    scene_of,
)
from emo_harness.demo.drawn_images import (
    FEW_ARRANGEMENTS,
    HELD_OUT_SHARE,
    NEUTRAL,
    SIZE,
    DemoImage,
    concepts,
    glyphs_of,
    pixels,
    plan,
    random_image,
)
from emo_harness.images.drawing import BACKGROUNDS
from tests.images.emoji_font import emoji_font


def images(n: int, seed: int = 0, *, held_out: bool = False) -> list[DemoImage]:
    rng = np.random.default_rng(seed)
    return [random_image(rng, held_out=held_out) for _ in range(n)]


def test_every_concept_of_the_shipped_plan_has_glyphs_of_its_own() -> None:
    assert set(concepts()) == {one.concept for one in plan().concepts} | {NEUTRAL}
    assert set(WORDS) == set(concepts())
    names = [name for of in glyphs_of().values() for name in of]
    assert len(names) == len(set(names))
    assert min(map(len, glyphs_of().values())) >= 4
    for words in WORDS.values():
        assert len(set(words)) == len(words)
    for concept, other in ((a, b) for a in WORDS for b in WORDS if a < b):
        assert not set(WORDS[concept]) & set(WORDS[other])


def test_equal_seeds_give_equal_images_and_captions() -> None:
    first, second = (images(50, seed=3) for _ in range(2))
    assert first == second
    told = [[random_caption(p, np.random.default_rng(5)) for p in first] for _ in range(2)]
    assert told[0] == told[1]
    assert images(50, seed=4) != first


def test_no_composition_is_both_trained_and_held_out() -> None:
    trained, kept = ({_composition(p) for p in images(600, held_out=h)} for h in (False, True))
    assert not trained & kept
    assert {p.concept for p in images(600, held_out=True)} == set(concepts())


def test_about_one_composition_in_five_is_held_out() -> None:
    every = [
        DemoImage(concept, (name,), 2, "pair", background)
        for concept, names in glyphs_of().items()
        for name in names
        for background in BACKGROUNDS
    ]
    assert np.mean([p.is_held_out for p in every]) == pytest.approx(HELD_OUT_SHARE, abs=0.03)


def test_every_composition_of_the_shipped_set_is_held_out() -> None:
    named = {code_points: name for name, code_points in plan().glyphs.items()}
    for drawing in plan().drawings():
        kinds = tuple(dict.fromkeys(named[glyph] for glyph in drawing.composition.glyphs))
        own = drawing.composition
        for order in (kinds, kinds[::-1]):
            assert DemoImage(
                "any", order, len(own.glyphs), own.arrangement, own.background
            ).is_held_out


def test_an_image_has_glyphs_of_its_concept_as_many_as_its_arrangement_holds() -> None:
    for image in images(300):
        assert set(image.kinds) <= set(glyphs_of()[image.concept])
        assert len(image.composition.glyphs) == image.n
    rng = np.random.default_rng(1)
    large = [
        random_image(rng, held_out=False, arrangements=FEW_ARRANGEMENTS, most=3, mixed_share=0.0)
        for _ in range(100)
    ]
    assert max(p.n for p in large) <= 3
    assert max(len(p.kinds) for p in large) == 1
    assert {p.arrangement for p in large} == set(FEW_ARRANGEMENTS)


def test_a_caption_is_true_of_its_image_and_whole_scenes_of_no_other() -> None:
    shown = images(300)
    rng = np.random.default_rng(2)
    captions = [random_caption(p, rng) for p in shown]
    true = is_true(np.array([c.claims for c in captions]), np.array([facts(p) for p in shown]))
    assert true.diagonal().all()
    whole = [i for i, c in enumerate(captions) if UNCLAIMED not in c.claims]
    for row, column in np.argwhere(true[:, whole]):
        same = shown[row], shown[whole[column]]
        assert _composition(same[0]) == _composition(same[1])
        assert same[0].n == same[1].n
    partial = [i for i, c in enumerate(captions) if UNCLAIMED in c.claims]
    assert true[:, partial].sum(0).mean() > 3


def test_captions_say_what_they_claim() -> None:
    rng = np.random.default_rng(3)
    for image in images(300):
        caption = random_caption(image, rng, noise_share=0)
        if caption.claims[3] != UNCLAIMED:
            assert BACKGROUNDS[image.background].phrase in caption.text
        if caption.claims[1] != UNCLAIMED:
            assert scene_of(image) in caption.text
        else:
            assert any(word in caption.text for word in WORDS[image.concept])


def test_any_text_ends_with_the_highest_id_and_known_words_are_few_tokens() -> None:
    tokenizer = caption_tokenizer(1)
    end = len(tokenizer) - 1
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (end, end)
    for text in ("a sad face", "Ünïcödé 感情 \n", "", "x" * 500):
        ids = tokenizer(text, truncation=True, max_length=CONTEXT_TOKENS)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == end
        assert end not in ids[:-1]
    for words in WORDS.values():
        for word in words:
            pieces = tokenizer(word.replace("-", " "))["input_ids"][1:-1]
            assert len(pieces) <= 2 * len(word.replace("-", " ").split())
    scenes = [len(tokenizer(drawing.caption)["input_ids"]) for drawing in plan().drawings()]
    assert max(scenes) <= CONTEXT_TOKENS
    assert caption_tokenizer(1).get_vocab() == tokenizer.get_vocab()
    assert len(set(TEMPLATES)) == len(TEMPLATES)


def test_pixels_depend_on_number_and_seed_alone() -> None:
    emoji_font()
    shown = images(12)
    found = pixels(shown, seed=1)
    assert found.shape == (12, SIZE, SIZE, 3)
    np.testing.assert_array_equal(found[:5], pixels(shown[:5], seed=1))
    large = pixels(shown, seed=1, drawn_size=3 * SIZE).astype(float)
    assert np.abs(large - found).mean() < 12


def _composition(image: DemoImage) -> tuple[tuple[str, ...], str, str]:
    return (tuple(sorted(image.kinds)), image.arrangement, image.background)
