from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emo_harness.errors import UserError
from emo_harness.images import MANIFEST, load_image_set, pixels_sha256
from emo_harness.images.controls import spectrum_match
from emo_harness.images.selection import VisualStimuli, visual_stimuli
from emo_harness.images.shared_image import SharedImage
from emo_harness.stimuli import select
from tests.images.image_sets import random_image, write_image_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(
        tmp_path_factory.mktemp("sets") / "tiny", per_concept=4, arousal=("low", "high")
    )


@pytest.fixture(scope="module")
def stimuli(folder: Path) -> VisualStimuli:
    return visual_stimuli(folder)


def ids(chosen: tuple) -> list[str]:
    return [one.id for one in chosen]


def test_a_family_has_so_many_images_of_each_concept_in_the_sets_order(
    stimuli: VisualStimuli,
) -> None:
    assert ids(stimuli.of_family("attack", 1)) == ["img:fear-1", "img:sadness-1"]
    many = stimuli.of_family("prompt", 99)
    assert ids(many) == [f"img:{c}-{i}" for c in ("money", "fortress") for i in range(1, 5)]
    assert {one.family for one in many} == {"visual-prompt"}


def test_variants_of_a_concept_take_turns(tmp_path: Path) -> None:
    folder = write_image_set(
        tmp_path / "s", families={"attack": ["fear"]}, per_concept=4, arousal=("low",)
    )
    lines = (folder / "manifest.jsonl").read_text().replace('"low"', '"high"').split("\n")
    old = (folder / "manifest.jsonl").read_text().split("\n")
    (folder / "manifest.jsonl").write_text("\n".join([*old[:4], *lines[4:]]))
    assert ids(visual_stimuli(folder).of_family("attack", 2)) == ["img:fear-1", "img:fear-3"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("img:fear-2", ["img:fear-2"]),
        ("IMG:Fear-2", ["img:fear-2"]),
        ("img:fear", ["img:fear-1", "img:fear-2"]),
        ("img:attack", ["img:fear-1", "img:fear-2", "img:sadness-1", "img:sadness-2"]),
        ("img:fear-2-twin", ["img:fear-2-twin"]),
        ("img:grey", ["img:grey"]),
        ("img:pixel-scrambled:fear-2", ["img:pixel-scrambled:fear-2"]),
        ("img:phase-scrambled:fear-2", ["img:phase-scrambled:fear-2"]),
        ("img:fear-2+ea01", ["img:fear-2+ea01"]),
        ("ea01+img:fear-2", ["img:fear-2+ea01"]),
        ("img:fear+ea01+ea02", ["img:fear-1+ea01+ea02", "img:fear-2+ea01+ea02"]),
        ("img:concept:fear", ["img:fear-1", "img:fear-2"]),
        ("img:image:fear-2", ["img:fear-2"]),
    ],
)
def test_names(stimuli: VisualStimuli, name: str, expected: list[str]) -> None:
    assert ids(stimuli.named([name])) == expected


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("img:feer-2", "nearest: 'fear-2'"),
        ("img:feaar", "nearest: 'fear'"),
        ("img:fear-1+img:fear-2", "two images"),
        ("img:fear-1+ea99", "no stimulus"),
        ("img:pixel-scrambled:feer-2", "nearest: 'fear-2'"),
        ("img:", "no image"),
    ],
)
def test_unknown_names_are_told(stimuli: VisualStimuli, name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        stimuli.named([name])


def test_every_sentence_of_a_set_stands_beside_every_image(stimuli: VisualStimuli) -> None:
    found = stimuli.named(["img:fear+attack"])
    sentences = select("attack")
    assert len(sentences) > 1
    assert [(one.image.id, one.text) for one in found if one.image] == [
        (image, sentence.text) for image in ("fear-1", "fear-2") for sentence in sentences
    ]


def test_a_name_of_an_image_and_of_another_ones_concept_is_not_guessed(tmp_path: Path) -> None:
    folder = write_image_set(tmp_path / "set", families={"attack": ["fear", "fear-1"]})
    stimuli = VisualStimuli(load_image_set(folder))
    with pytest.raises(UserError, match="img:image:fear-1 or img:concept:fear-1"):
        stimuli.named(["img:fear-1"])
    assert ids(stimuli.named(["img:image:fear-1"])) == ["img:fear-1"]
    assert ids(stimuli.named(["img:concept:fear-1"])) == ["img:fear-1-1", "img:fear-1-2"]
    assert ids(stimuli.named(["img:fear-2"])) == ["img:fear-2"]


def test_a_family_that_a_set_has_not_is_told(stimuli: VisualStimuli) -> None:
    with pytest.raises(UserError, match="attack, prompt"):
        stimuli.of_family("negative")


def test_an_image_with_a_sentence_is_both(stimuli: VisualStimuli) -> None:
    (both,), (sentence,) = stimuli.named(["img:fear-2+ea01"]), select("ea01")
    (shown,) = stimuli.named(["img:fear-2"])
    assert both.text == sentence.text and both.image == shown.image
    assert both.family == "attack+visual-attack" and both.placebo is None
    (own,) = stimuli.named(
        ["img:fear-2+mine"], also_known=[sentence.model_copy(update={"id": "mine"})]
    )
    assert own.text == sentence.text


def test_what_is_shown_is_what_the_record_says(stimuli: VisualStimuli) -> None:
    chosen = stimuli.named(
        ["img:fear-2", "img:fear-2-twin", "img:grey", "img:pixel-scrambled:fear-2"]
    )
    for one in (*chosen, *stimuli.named(["img:phase-scrambled:fear-2"])):
        assert one.image is not None
        shown = stimuli.image(one.image)
        assert pixels_sha256(shown) == one.image.sha256
        assert shown.size == (one.image.width, one.image.height)
        assert stimuli.image(one.image) is shown


def test_controls_are_the_same_in_every_process_and_of_their_image(folder: Path) -> None:
    first, second = (VisualStimuli(load_image_set(folder)) for _ in range(2))
    names = ["img:pixel-scrambled:fear-1", "img:phase-scrambled:fear-1", "img:grey"]
    assert first.named(names) == second.named(names)
    (mixed,) = first.named(names[:1])
    (other,) = first.named(["img:pixel-scrambled:fear-2"])
    assert mixed.image and other.image and mixed.image.sha256 != other.image.sha256
    original = first.image(first.named(["img:fear-1"])[0].image)  # type: ignore[arg-type]
    pixels = [np.asarray(p).reshape(-1, 3) for p in (original, first.image(mixed.image))]
    assert sorted(map(tuple, pixels[0])) == sorted(map(tuple, pixels[1]))


def test_a_phase_scrambled_copy_says_what_it_kept(stimuli: VisualStimuli) -> None:
    for name in ("img:phase-scrambled:fear-1", "img:pixel-scrambled:fear-1", "img:fear-1"):
        [one] = stimuli.named([name])
        assert one.image is not None
        if one.image.derived != "phase-scrambled":
            assert one.image.contrast_kept is None and one.image.spectrum_error is None
            continue
        original = stimuli.image_set.open(stimuli.image_set.entry("fear-1"))
        match = spectrum_match(original, stimuli.image(one.image))
        assert (one.image.contrast_kept, one.image.spectrum_error) == (match.contrast, match.error)


def test_grey_is_not_made_of_a_size_that_only_the_manifest_tells(tmp_path: Path) -> None:
    folder = write_image_set(tmp_path / "set", per_concept=1)
    lines = (folder / MANIFEST).read_text().splitlines()
    first = json.loads(lines[0]) | {"width": 7_000, "height": 7_000}
    (folder / MANIFEST).write_text("\n".join([json.dumps(first), *lines[1:]]))
    with pytest.raises(UserError, match="as the manifest says"):
        VisualStimuli(load_image_set(folder)).grey()


def test_controls_are_of_the_images_that_are_arms(stimuli: VisualStimuli) -> None:
    chosen = stimuli.named(["img:fear-3+ea01", "img:fear-4", "img:money-2"])
    assert ids(stimuli.twins(chosen, 1)) == ["img:fear-4-twin", "img:money-2-twin"]
    assert ids(stimuli.scrambled(chosen, "pixel-scrambled", 2)) == [
        f"img:pixel-scrambled:{i}" for i in ("fear-4", "money-2")
    ]
    assert ids(stimuli.twins(chosen[:1], 1)) == ["img:fear-3-twin"]
    twin = stimuli.twins(chosen, 1)[0]
    assert twin.placebo == "neutral" and twin.image and twin.image.control_of == "fear-4"


def test_controls_take_turns_between_low_and_high_arousal() -> None:
    stimuli = visual_stimuli()
    shown = stimuli.of_family("attack", 2)
    arousal = {s.image.id: s.image.arousal for s in shown if s.image}
    turns = ["low", "high", "low", "high", "low", "high"]
    for made in (stimuli.twins(shown, 1), stimuli.scrambled(shown, "pixel-scrambled", 1)):
        images = [s.image for s in made if s.image]
        assert [image.concept for image in images] == list(
            dict.fromkeys(s.image.concept for s in shown if s.image)
        )
        assert [arousal[image.control_of or ""] for image in images] == turns
    assert len(stimuli.twins(shown, 2)) == len(shown)
    # Concepts without variants have controls of their first images, and take no turn.
    assert ids(stimuli.twins(stimuli.of_family("prompt", 2), 1))[:2] == [
        "img:food-1-twin",
        "img:sleep-1-twin",
    ]


def test_a_set_is_read_again_where_its_manifest_has_changed(tmp_path: Path) -> None:
    import os

    folder = write_image_set(tmp_path / "s", per_concept=1)
    before = visual_stimuli(folder)
    assert visual_stimuli(folder) is before
    write_image_set(folder, per_concept=2)
    os.utime(folder / "manifest.jsonl", ns=(1, 1))
    assert len(visual_stimuli(folder).of_family("attack", 9)) == 4


def test_an_unknown_set_is_told() -> None:
    with pytest.raises(UserError, match="no such folder"):
        visual_stimuli("no-such-set")


def test_a_shared_image_is_its_image_and_is_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = random_image(3)
    shared = SharedImage.of(plain)
    assert isinstance(shared, Image.Image) and pixels_sha256(shared) == pixels_sha256(plain)
    assert np.array_equal(np.asarray(shared.convert("RGB").resize((5, 5))), plain.resize((5, 5)))

    def saved(image: Image.Image) -> str:
        file = io.BytesIO()
        image.save(file, format="PNG")
        return hashlib.sha256(file.getvalue()).hexdigest()

    expected = saved(plain)
    assert saved(shared) == expected
    monkeypatch.setattr(Image.Image, "save", None)
    assert saved(shared) == expected
