"""Checks of a whole set: planted readings are found again, and gaps are told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emo_harness.errors import UserError
from emo_harness.images import (
    ImageEntry,
    ImageSet,
    Imported,
    Norms,
    load_image_set,
    pixels_sha256,
    write_manifest,
)
from emo_harness.images.check import ImageChecks, check_images
from emo_harness.images.check_words import CheckWords, load_check_words
from emo_harness.images.checks_file import (
    MOST_SHOWN,
    checked_entries,
    checks_numbers,
    checks_table,
    image_rows,
)
from emo_harness.images.checks_sheet import checks_sheet
from emo_harness.images.clip_files import DEMO
from emo_harness.images.decoding_ahead import decoded_ahead
from emo_harness.report.images import ImageCheckNumbers, checks_page
from tests.images.image_sets import write_image_set

pytest.importorskip("imagehash")
WORDS = load_check_words()
CONCEPTS = ("fear", "happiness", "money")


@dataclass
class ReadsColour:
    """An encoder in whose space an image's corner colour says what it shows.

    An image's first pixel holds its vector's angle to each class; texts are one-hot by the class
    whose phrase they contain.
    """

    name: str = "reads-colour"
    identity: str | None = "files 0"
    scale: float = 8.0
    context_tokens: int = 77
    batches: list[int] = field(default_factory=list)

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.getpixel((0, 0)), np.float32)

    def image_vectors(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(prepared))
        # Never of length zero; a fourth direction that no text has.
        vectors = np.concatenate([np.stack(list(prepared)), np.full((len(prepared), 1), 20)], 1)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        classes = (("fear",), ("happiness", "joy", "pleasant"), ("money",))
        vectors = [
            [float(any(word in text for word in own)) for own in classes] + [0.05] for text in texts
        ]
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def n_cut(self, texts: Sequence[str]) -> int:
        return sum(len(text) > 60 for text in texts)

    def unknown(self, texts: Sequence[str]) -> list[str]:
        return [text for text in texts if "disgust" in text]


def shown_as(place: int, seed: int) -> Image.Image:
    """An image whose corner says that it shows the concept of that place, noise elsewhere."""
    rng = np.random.default_rng([11, seed])
    pixels = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
    pixels[0, 0] = [200 if n == place else 30 for n in range(3)] if place >= 0 else [40, 40, 40]
    return Image.fromarray(pixels)


def written_set(
    folder: Path, images: Sequence[tuple[str, int]], *, twins: bool = True, **facts: Any
) -> ImageSet:
    """A set of (concept, place of the concept that it shows)."""
    entries = []
    for number, (concept, place) in enumerate(images):
        for is_twin in (False, True) if twins else (False,):
            name = f"{concept}-{number}" + ("-twin" if is_twin else "")
            image = shown_as(-1 if is_twin else place, 2 * number + is_twin)
            image.save(folder / f"{name}.png")
            entries.append(
                ImageEntry(
                    id=name,
                    file=f"{name}.png",
                    family="placebo" if is_twin else "prompt" if concept == "money" else "attack",
                    concept=concept,
                    emotion=None if concept == "money" else concept,
                    twin_of=f"{concept}-{number}" if is_twin else None,
                    caption=f"an image of {concept}",
                    sha256=pixels_sha256(image),
                    width=image.width,
                    height=image.height,
                    made=Imported(original=name, source="made"),
                    **{key: value[number] for key, value in facts.items()},
                )
            )
    write_manifest(folder, entries)
    return load_image_set(folder)


RIGHT = [(concept, place) for place, concept in enumerate(CONCEPTS) for _ in range(4)]


def checked(images: ImageSet, batch_size: int = 5, n_encoders: int = 1) -> ImageChecks:
    encoders = [ReadsColour(), ReadsColour("second", "files 1", 3.0)][:n_encoders]
    return check_images(images, encoders, WORDS, batch_size)  # type: ignore[arg-type]


def numbers(checks: ImageChecks) -> dict[str, Any]:
    encoders = [ReadsColour(one.encoder) for one in checks.scores]
    found = checks_numbers(checks, encoders)  # type: ignore[arg-type]
    ImageCheckNumbers.model_validate(found)
    return found


def test_what_was_planted_is_found(tmp_path: Path) -> None:
    found = numbers(checked(written_set(tmp_path, RIGHT)))
    assert [part["concept"] for part in found["concepts"]] == list(CONCEPTS)
    for part in found["concepts"]:
        assert part["accuracy"][0] == 1 and part["accuracy"][1] < 1
        assert part["chance"] == pytest.approx(1 / 3)
        # The images are so alike that there is no spread to make an interval of.
        assert part["contrast"][0] > 0 and part["contrast"][1:] == [None, None]
        assert part["n_pairs"] == part["n"] == part["n_twins"] == 4
        assert part["alignment"] > 0.5
    assert [part["family"] for part in found["families"]] == ["attack", "prompt", "all"]
    assert found["families"][-1]["n"] == found["n_images"] == found["n_twins"] == 12


def test_wrong_images_are_named_and_lower_the_accuracy(tmp_path: Path) -> None:
    checks = checked(written_set(tmp_path, [*RIGHT[:11], ("money", 0)]))
    rows = {row["id"]: row for row in image_rows(checks)}
    assert rows["money-11"]["predicted"] == "fear" and rows["money-11"]["twin_contrast"] < 0
    assert rows["money-11"]["probability_emotion"] is None
    money = next(part for part in numbers(checks)["concepts"] if part["concept"] == "money")
    assert money["accuracy"][0] == 0.75


def test_contrast_is_the_difference_of_own_log_odds(tmp_path: Path) -> None:
    checks = checked(written_set(tmp_path, RIGHT))
    rows = {row["id"]: row for row in image_rows(checks)}

    def log_odds(p: float) -> float:
        return float(np.log(p / (1 - p)))

    for name, key in (("fear-0", "probability_emotion"), ("money-9", "probability_concept")):
        expected = log_odds(rows[name][key]) - log_odds(rows[f"{name}-twin"][key])
        assert rows[name]["twin_contrast"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 24, 100])
def test_numbers_do_not_depend_on_the_batch(tmp_path: Path, batch_size: int) -> None:
    images = written_set(tmp_path, RIGHT)
    assert numbers(checked(images, batch_size)) == numbers(checked(images, 7))


def test_batches_are_full_and_every_image_is_read_once(tmp_path: Path) -> None:
    encoder = ReadsColour()
    check_images(written_set(tmp_path, RIGHT), [encoder], WORDS, 10)  # type: ignore[list-item]
    assert encoder.batches == [10, 10, 4]


def test_two_encoders_are_told_apart_and_compared(tmp_path: Path) -> None:
    checks = checked(written_set(tmp_path, RIGHT), n_encoders=2)
    found = numbers(checks)
    assert found["agreement"]["same"][0] == 1 and found["agreement"]["kappa"] == pytest.approx(1)
    assert found["agreement"]["contrast"]["rank"][0] > 0.9
    for part in found["concepts"]:
        assert part["second"]["accuracy"] == part["accuracy"]
        # The second is less sure: its scale is smaller.
        assert 0 < part["second"]["contrast"][0] < part["contrast"][0]
    table = checks_table(checks)
    assert set(table["second_encoder"]) == {"second"} and len(table) == 24


def test_a_set_with_one_concept_has_no_accuracy(tmp_path: Path) -> None:
    found = numbers(checked(written_set(tmp_path, RIGHT[8:])))
    (part,) = found["concepts"]
    assert part["accuracy"] == [None] * 3 and part["probability"] is None
    assert part["contrast"] == [None] * 3 and part["diversity"] is not None
    assert any("one concept" in remark for remark in found["remarks"])
    # With an emotion there is still something to tell it from.
    other = tmp_path / "fear"
    other.mkdir()
    assert numbers(checked(written_set(other, RIGHT[:4])))["concepts"][0]["contrast"][0] > 0


def test_a_set_without_twins_has_no_contrast(tmp_path: Path) -> None:
    found = numbers(checked(written_set(tmp_path, RIGHT, twins=False)))
    assert all(part["contrast"][0] is None for part in found["concepts"])
    assert found["matching"] == [] and found["n_twins"] == 0
    assert any("no image has a neutral twin" in remark for remark in found["remarks"])


def test_a_single_image_can_be_checked(tmp_path: Path) -> None:
    checks = checked(written_set(tmp_path, RIGHT[:1], twins=False))
    found = numbers(checks)
    assert found["n_images"] == 1 and found["concepts"][0]["diversity"] is None
    assert checks_sheet(checks).width > 0


def test_without_an_encoder_facts_and_look_alikes_remain(tmp_path: Path) -> None:
    images = written_set(tmp_path, RIGHT[:3])
    checks = checked(images, n_encoders=0)
    found = numbers(checks)
    assert found["encoders"] == [] and found["matching"]
    assert "predicted" not in checks_table(checks) and "sharpness" in checks_table(checks)


def test_unknown_words_and_cut_texts_are_told(tmp_path: Path) -> None:
    remarks = numbers(checked(written_set(tmp_path, RIGHT)))["remarks"]
    assert any("does not know the words for disgust" in remark for remark in remarks)


def test_human_ratings_are_compared_with_what_is_read(tmp_path: Path) -> None:
    norms = [
        Norms(valence=8.0 if concept == "happiness" else 2.0 + 0.1 * n, scale=(1, 9), source="us")
        for n, (concept, _) in enumerate(RIGHT)
    ]
    found = numbers(checked(written_set(tmp_path, RIGHT, norms=norms)))
    (row,) = found["norms"]
    assert row["dimension"] == "valence" and row["n"] == 12
    assert row["rank"][0] > 0.5 and row["rank"][1] < row["rank"][0] < row["rank"][2]


def test_copies_are_marked_with_the_first_of_them(tmp_path: Path) -> None:
    images = write_image_set(tmp_path, per_concept=2)
    first, second = images / "fear-1.png", images / "sadness-2.png"
    second.write_bytes(first.read_bytes())
    entries = list(load_image_set(images).entries)
    places = {entry.id: place for place, entry in enumerate(entries)}
    entries[places["sadness-2"]] = entries[places["sadness-2"]].model_copy(
        update={"sha256": entries[places["fear-1"]].sha256}
    )
    write_manifest(images, entries)
    found = numbers(checked(load_image_set(images), n_encoders=0))
    assert found["duplicates"]["groups"] == [["fear-1", "sadness-2"]]
    marked = {one["id"]: one["duplicate_of"] for one in found["images"] if one["duplicate_of"]}
    assert marked == {"sadness-2": "fear-1"}


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    images = written_set(tmp_path, RIGHT)
    path = tmp_path / "happiness-5.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="happiness-5"):
        checked(images)


def test_the_manifest_keeps_what_was_found_and_nothing_else_changes(tmp_path: Path) -> None:
    images = written_set(tmp_path, RIGHT)
    entries = checked_entries(checked(images))
    write_manifest(tmp_path, entries)
    again = load_image_set(tmp_path)
    assert [e.model_copy(update={"checks": None}) for e in again.entries] == list(images.entries)
    checks = again.entry("fear-0").checks or {}
    assert checks["predicted"] == "fear" and checks["encoder"] == "reads-colour"
    # Checking again replaces it.
    assert [e.checks for e in checked_entries(checked(again))] == [e.checks for e in again.entries]


def test_a_page_shows_a_concepts_most_doubtful_images(tmp_path: Path) -> None:
    images = [("fear", 0)] * (MOST_SHOWN + 6) + [("money", 2)]
    images[MOST_SHOWN + 2] = ("fear", 2)
    found = numbers(checked(written_set(tmp_path, images)))
    shown = [one for one in found["images"] if one["thumbnail"]]
    fear = [one for one in shown if one["concept"] == "fear" and not one["twin_of"]]
    assert len(fear) == MOST_SHOWN and f"fear-{MOST_SHOWN + 2}" in {one["id"] for one in fear}
    assert {one["twin_of"] for one in shown if one["twin_of"]} == {
        one["id"] for one in shown if not one["twin_of"]
    }
    assert all(one["thumbnail"].startswith("data:image/webp;base64,") for one in shown)


def test_every_concept_has_its_turn_before_any_has_a_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emo_harness.images.checks_file.MOST_SHOWN_IN_ALL", 5)
    images = [("fear", 0)] * 6 + [("money", 2)] + [("happiness", 1)] * 2
    found = numbers(checked(written_set(tmp_path, images, twins=False)))
    shown = [one["concept"] for one in found["images"] if one["thumbnail"]]
    assert sorted(shown) == ["fear", "fear", "happiness", "happiness", "money"]


def referenced(images: ImageSet) -> ImageSet:
    """The same images, which must not be copied."""
    entries = [e.model_copy(update={"file": None, "referenced": e.file}) for e in images.entries]
    write_manifest(images.folder, entries)
    return load_image_set(images.folder)


def test_no_pixel_of_a_referenced_image_is_passed_on_unasked(tmp_path: Path) -> None:
    checks = checked(referenced(written_set(tmp_path, RIGHT)))
    found = numbers(checks)
    assert {one["thumbnail"] for one in found["images"]} == {None}
    page = checks_page(ImageCheckNumbers.model_validate(found))
    assert "data:image" not in page and page.count('class="withheld"') == len(found["images"])
    assert "referenced, not copied" in page and "fear-0" in page
    colours = np.asarray(checks_sheet(checks), int)
    assert np.ptp(colours, axis=2).max() < 15
    asked = checks_numbers(checks, [], show_referenced=True)
    assert all(one["thumbnail"] for one in asked["images"])
    assert "do not pass it on" in checks_page(ImageCheckNumbers.model_validate(asked))
    assert np.ptp(np.asarray(checks_sheet(checks, show_referenced=True), int), axis=2).max() > 50


@pytest.mark.parametrize("encoder", [DEMO, "another"])
@pytest.mark.parametrize("made", ["imported", "drawn"])
def test_the_demo_encoder_is_not_believed_on_other_images(
    tmp_path: Path, encoder: str, made: str
) -> None:
    images = (
        written_set(tmp_path, RIGHT)
        if made == "imported"
        else load_image_set(write_image_set(tmp_path))
    )
    found = check_images(images, [ReadsColour(encoder)], WORDS)  # type: ignore[list-item]
    warned = any("knows drawn emoji and nothing else" in one for one in found.remarks)
    assert warned == (encoder == DEMO and made == "imported")


def test_only_so_many_images_are_held_at_once() -> None:
    held, most, lock = 0, 0, threading.Lock()

    def prepare(number: int) -> int:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return number

    seen = []
    for number in decoded_ahead(range(200), prepare, 9):
        seen.append(number)
        with lock:
            held -= 1
    assert seen == list(range(200)) and most <= 10


def test_an_error_ahead_comes_at_its_turn_and_ends_the_rest() -> None:
    begun: list[int] = []

    def prepare(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise ValueError("five")
        return number

    seen = []
    with pytest.raises(ValueError, match="five"):
        for number in decoded_ahead(range(1_000), prepare, 8):
            seen.append(number)
    assert seen == [0, 1, 2, 3, 4] and len(begun) < 30


def test_a_wide_set_has_a_sheet_that_can_be_opened(tmp_path: Path) -> None:
    images = write_image_set(
        tmp_path, families={"prompt": [f"thing-{n}" for n in range(90)]}, per_concept=1, side=8
    )
    sheet = checks_sheet(checked(load_image_set(images), n_encoders=0))
    assert sheet.height < 20_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("concept_templates: [a]", "{}"),
        ("colour: 1", "colour"),
        ("- 1", ""),
        (":\n :", ""),
        ("emotions: {fear: [fear]}", ""),
    ],
)
def test_words_that_are_not_as_they_should_be_are_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError) as raised:
        load_check_words(path)
    assert told in raised.value.found + raised.value.expected


def test_own_words_are_used(tmp_path: Path) -> None:
    told = WORDS.model_dump()
    told["concepts"] = {"money": ["happiness"]}
    checks = check_images(
        written_set(tmp_path, RIGHT),
        [ReadsColour()],  # type: ignore[list-item]
        CheckWords.model_validate(told),
    )
    found = {part["concept"]: part["accuracy"][0] for part in numbers(checks)["concepts"]}
    assert found["fear"] == 1 and found["money"] == 0
