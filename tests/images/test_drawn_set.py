"""Drawn image sets: whole, the same each time, with twins; and the set that ships."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from emo_harness.errors import UserError
from emo_harness.images import Drawn, ImageEntry, load_image_set, write_manifest
from emo_harness.images.controls import phase_scrambled, rng_of, spectrum_match
from emo_harness.images.drawing import draw
from emo_harness.images.drawn_set import SHEET, draw_set
from emo_harness.images.emoji_plan import EmojiPlan, caption, load_emoji_plan
from emo_harness.images.image_set import MANIFEST
from emo_harness.images.png_facts import facts_of, read_facts
from emo_harness.resources import resource
from tests.images.emoji_font import emoji_font
from tests.images.image_sets import write_image_set

EMOTIONS = {"happiness", "sadness", "fear", "disgust", "anger", "surprise"}
LEVELS = {"physiological", "safety", "belonging", "esteem", "self-actualisation"}
MOST_BYTES = 6_000_000
FEAR = {
    "concept": "fear",
    "family": "attack",
    "theory": "basic emotions",
    "emotion": "fear",
    "arousal": "high",
    "neutral": ["neutral face"],
    "images": [
        {"glyphs": ["screaming face"], "arrangement": "single", "background": "night"},
        {"glyphs": ["screaming face"], "arrangement": "scatter", "n": 5, "background": "white"},
    ],
}
PLAN = {
    "name": "small",
    "version": 1,
    "title": "A small set",
    "size": 48,
    "glyphs": {"neutral face": "U+1F610", "screaming face": "U+1F631"},
    "concepts": [FEAR],
}


def plan(**changes: object) -> EmojiPlan:
    return EmojiPlan.model_validate({**PLAN, **changes})


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_set_is_drawn_whole_and_the_same_each_time(tmp_path: Path) -> None:
    drawn = draw_set(plan(), emoji_font(), tmp_path / "a")
    assert [entry.id for entry in drawn.entries] == [
        "fear-1",
        "fear-1-twin",
        "fear-2",
        "fear-2-twin",
    ]
    assert {entry.family for entry in drawn.entries} == {"attack", "placebo"}
    assert all(drawn.open(entry).size == (48, 48) for entry in drawn.entries)
    draw_set(plan(), emoji_font(), tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert set(files(tmp_path / "a")) == {f"{e.id}.png" for e in drawn.entries} | {MANIFEST, SHEET}
    # Once more into the same folder, with and without a change.
    draw_set(plan(), emoji_font(), tmp_path / "a")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    fewer = plan(concepts=[{**FEAR, "images": FEAR["images"][:1]}])
    draw_set(fewer, emoji_font(), tmp_path / "a", size=32)
    assert set(files(tmp_path / "a")) == {"fear-1.png", "fear-1-twin.png", MANIFEST, SHEET}


def test_png_carries_the_facts_of_its_manifest(tmp_path: Path) -> None:
    drawn = draw_set(plan(), emoji_font(), tmp_path)
    for entry in drawn.entries:
        facts = read_facts(drawn.path(entry))
        assert facts == facts_of(entry)
        assert facts["made"]["glyphs"] == list(entry.made.glyphs)
        assert facts["sha256"] == entry.sha256
        with Image.open(drawn.path(entry)) as image:
            assert image.mode == "RGB"
            assert image.text["Title"] == entry.id
            assert image.text["Description"] == entry.caption


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "fear-1.png").write_bytes(b"mine")
    (tmp_path / "own" / "note.txt").write_text("mine")
    with pytest.raises(UserError, match=r"a file fear-1\.png"):
        draw_set(plan(), emoji_font(), tmp_path / "own")
    assert files(tmp_path / "own") == {"fear-1.png": b"mine", "note.txt": b"mine"}
    (tmp_path / "own" / "fear-1.png").unlink()
    draw_set(plan(), emoji_font(), tmp_path / "own")
    assert files(tmp_path / "own")["note.txt"] == b"mine"


def test_set_that_was_not_drawn_is_never_replaced(tmp_path: Path) -> None:
    write_image_set(tmp_path)
    imported = {"how": "imported", "original": "a.jpg", "source": "me"}
    entries = [
        ImageEntry.model_validate({**entry.model_dump(), "made": imported})
        for entry in load_image_set(tmp_path).entries
    ]
    write_manifest(tmp_path, entries)
    before = files(tmp_path)
    with pytest.raises(UserError, match="not drawn"):
        draw_set(plan(), emoji_font(), tmp_path)
    assert files(tmp_path) == before


def test_glyph_that_is_missing_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = plan(glyphs={**PLAN["glyphs"], "neutral face": "U+10FFFD"})
    with pytest.raises(UserError, match="no such glyph"):
        draw_set(broken, emoji_font(), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_caption_counts_in_words() -> None:
    assert caption(("crying face",) * 3, "row", "fog", {}) == "three crying faces in a row in fog"
    told = caption(("apple", "box", "box"), "scatter", "white", {"box": "boxes"})
    assert told == "an apple and two boxes scattered on a white background"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 8}, "size"),
        ({"sise": 8}, "nearest: 'size'"),
        ({"concepts": []}, "concepts"),
        ({"concepts": [{**FEAR, "family": "placebo"}]}, "placebo"),
        ({"concepts": [{**FEAR, "neutral": ["neutral fase"]}]}, "nearest: 'neutral face'"),
        ({"concepts": [{**FEAR, "arousal": "medium"}]}, "low, high"),
        (
            {"concepts": [{**FEAR, "images": [{**FEAR["images"][0], "background": "nite"}]}]},
            "image fear-1(.|\n)*nearest: 'night'",
        ),
        (
            {"concepts": [{**FEAR, "images": [{**FEAR["images"][0], "n": 3}]}]},
            "3 glyphs in the arrangement single",
        ),
    ],
)
def test_mistake_in_a_plan_is_told(changes: dict[str, object], told: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    with pytest.raises(UserError, match=told):
        load_emoji_plan(path).drawings()


def test_recipe_is_no_plan() -> None:
    with pytest.raises(UserError, match="emo images generate"):
        load_emoji_plan("attack")
    with pytest.raises(UserError, match="nearest: 'emoji'"):
        load_emoji_plan("emojis")


def test_shipped_set_has_what_it_promises() -> None:
    folder = resource("stimuli_images/emoji")
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    assert {"README.md", "OFL.txt", SHEET, MANIFEST} <= {path.name for path in folder.iterdir()}
    shipped = load_image_set("emoji")
    images = [entry for entry in shipped.entries if entry.twin_of is None]
    assert all(shipped.twin(entry.id) is not None for entry in images)
    assert {e.emotion for e in images if e.family == "attack"} == EMOTIONS
    assert {e.level for e in images if e.family == "prompt"} == LEVELS
    of_paper = {"money", "fortress", "honour", "attractive-woman", "attractive-man"}
    assert of_paper <= {e.concept for e in images if e.family == "prompt"}
    per_variant = Counter((e.concept, e.arousal) for e in images)
    assert min(per_variant.values()) >= 4
    for concept, arousal in per_variant:
        made = [e.made for e in images if (e.concept, e.arousal) == (concept, arousal)]
        assert all(isinstance(one, Drawn) for one in made)
        for fact in ("glyphs", "background", "arrangement"):
            values = {getattr(one, fact) for one in made}
            assert len(values) == len(made), f"{concept} {arousal}: {fact}"
    assert {(e, a) for e in EMOTIONS for a in ("low", "high")} <= set(per_variant)


def test_shipped_images_are_rgb_of_336_pixels_and_all_different() -> None:
    shipped = load_image_set("emoji")
    for entry in shipped.entries:
        with Image.open(shipped.path(entry)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (336, 336))
        assert read_facts(shipped.path(entry)) == facts_of(entry)
    images = [entry.sha256 for entry in shipped.entries if entry.twin_of is None]
    assert len(set(images)) == len(images)


def test_readme_of_the_shipped_set_tells_of_equal_images_and_of_lost_contrast() -> None:
    shipped = load_image_set("emoji")
    said = " ".join((shipped.folder / "README.md").read_text("utf-8").split())
    assert shipped.equal()
    for group in shipped.equal():
        assert " = ".join(f"`{one}`" for one in group) in said
    least = shipped.open(shipped.entry("surprise-1"))
    kept = spectrum_match(least, phase_scrambled(least, rng_of(least))).contrast
    assert f"least {kept:.2f} (`surprise-1`)" in said


def test_shipped_twin_has_everything_of_its_image_but_the_glyphs() -> None:
    shipped = load_image_set("emoji")
    neutral = set()
    emotional = set()
    for entry in shipped.entries:
        if entry.twin_of is None:
            emotional |= set(entry.made.glyphs)
            continue
        neutral |= set(entry.made.glyphs)
        own, of = entry.made.model_dump(), shipped.entry(entry.twin_of).made.model_dump()
        assert len(own.pop("glyphs")) == len(of.pop("glyphs"))
        assert own == of
        about = ("concept", "theory", "level", "emotion", "arousal")
        assert [getattr(entry, a) for a in about] == [
            getattr(shipped.entry(entry.twin_of), a) for a in about
        ]
    assert not neutral & emotional


def test_shipped_set_is_what_its_plan_draws() -> None:
    shipped, font = load_image_set("emoji"), emoji_font()
    if shipped.entries[0].made.font_sha256 != font.sha256:
        pytest.skip(f"another version of the font here: {font.version}")
    planned = load_emoji_plan().drawings()
    assert [one.id for one in planned] == [entry.id for entry in shipped.entries]
    for one, entry in zip(planned, shipped.entries, strict=True):
        assert one.caption == entry.caption
        assert one.composition.glyphs == entry.made.glyphs
        if one.id.startswith(("fear", "fortress")):
            drawn = draw(one.composition, font, 336, np.random.default_rng([one.seed]))
            apart = np.abs(np.asarray(drawn, dtype=int) - np.asarray(shipped.open(entry))).max()
            # Of another Pillow's resampling a level is not ours to promise.
            assert apart <= 2, one.id
