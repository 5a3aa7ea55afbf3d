"""The report's section on image sets: images as data, chance beside accuracy."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emo_harness.errors import UserError
from emo_harness.report.images import ImageCheckNumbers, checks_page, sentences, warnings
from emo_harness.report.sections import sections
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m"
N_CONCEPTS = 4


def thumbnail(shade: int) -> str:
    made = io.BytesIO()
    Image.new("RGB", (96, 64), (shade, 90, 200 - shade)).save(made, "WEBP")
    return "data:image/webp;base64," + base64.b64encode(made.getvalue()).decode()


def image(name: str, concept: str, **facts: Any) -> dict[str, Any]:
    return {
        "id": name,
        "family": "attack",
        "concept": concept,
        "arousal": None,
        "twin_of": None,
        "duplicate_of": None,
        "thumbnail": thumbnail(len(name)),
        "sharpness": 0.01,
        "brightness": 0.5,
        "contrast": 0.2,
        "colourfulness": 0.1,
        "width": 96,
        "height": 64,
        "n_bytes": 1200,
        "probability_concept": 0.7,
        "predicted": concept,
        "probability_emotion": 0.6,
        "emotion_predicted": "fear",
        "twin_contrast": 2.5,
        "alignment": 0.3,
    } | facts


def part(concept: str | None, **facts: Any) -> dict[str, Any]:
    return {
        "concept": concept,
        "family": "attack",
        "level": None,
        "emotion": concept,
        "n": 2,
        "n_twins": 2,
        "n_duplicates": 0,
        "n_pairs": 2,
        "accuracy": [0.5, 0.1, 0.9],
        "chance": 1 / N_CONCEPTS,
        "emotion_accuracy": [0.5, 0.1, 0.9],
        "emotion_chance": 1 / 7,
        "probability": 0.6,
        "contrast": [1.2, 0.4, 2.0],
        "alignment": 0.3,
        "diversity": 0.2,
        "second": None,
    } | facts


def numbers() -> dict[str, Any]:
    images = [
        image("fear-1", "fear"),
        image("fear-1-twin", "fear", twin_of="fear-1", family="placebo", twin_contrast=None),
        image("fear-2", "fear", predicted="money", twin_contrast=-0.5, duplicate_of="fear-1"),
        image("fear-3", "fear", thumbnail=None),
    ]
    return {
        "schema_version": 1,
        "set": "made",
        "n_images": 3,
        "n_twins": 1,
        "made": ["drawn"],
        "encoders": [{"name": "tiny", "identity": None}],
        "emotions": ["fear", "neutral"],
        "concepts": [part("fear", n=3)],
        "families": [part(None, accuracy=[0.9, 0.6, 1.0])],
        "matching": [
            {
                "family": "attack",
                "fact": fact,
                "images": 0.6,
                "twins": 0.5,
                "difference": {"n": 9, "mean": mean, "standardised": 0.9},
                "p_adjusted": p,
                "differs": p < 0.05,
            }
            for fact, mean, p in (
                ("brightness", [0.1, 0.05, 0.15], 0.001),
                ("contrast", [0.1, -0.1, 0.3], 0.6),
            )
        ]
        + [
            {
                "family": "attack",
                "fact": "width",
                "images": 96,
                "twins": 96,
                "difference": {"n": 9, "mean": [0, None, None], "standardised": None},
                "p_adjusted": None,
                "differs": False,
            }
        ],
        "norms": [
            {"encoder": "tiny", "dimension": "valence", "n": 9, "rank": [0.5, 0.1, 0.8], "p": 0.02}
        ],
        "agreement": None,
        "duplicates": {"most_bits": 16, "n_bits": 256, "groups": [["fear-1", "fear-2"]]},
        "remarks": [],
        "images": images,
    }


def with_second(made: dict[str, Any]) -> dict[str, Any]:
    made["encoders"].append({"name": "other", "identity": None})
    own = {"n_pairs", "accuracy", "chance", "emotion_accuracy", "emotion_chance"}
    own |= {"probability", "contrast", "alignment", "diversity"}
    for one in (*made["concepts"], *made["families"]):
        one["second"] = {key: one[key] for key in own} | {"accuracy": [0.25, 0.2, 0.3]}
    rank = {"n": 9, "rank": [0.4, 0.1, 0.7], "p": 0.02}
    made["agreement"] = {"n": 9, "same": [0.8, 0.5, 0.9], "kappa": 0.7, "contrast": rank}
    return made


def page(run: Path, made: dict[str, Any], out: Path) -> tuple[ParsedPage, dict[str, Any]]:
    (run / "posthoc").mkdir(parents=True)
    (run / "posthoc" / "images.json").write_text(json.dumps(made), "utf-8")
    usual = replace(contents(models=1, subtasks=2, stimuli=2, flips=0), run_folders=(run,))
    markup, told = written(usual, out)
    return ParsedPage(markup), told


def section_of(told: dict[str, Any]) -> dict[str, Any]:
    return next(section for section in told["sections"] if section["id"] == "images")


def test_images_stand_beside_their_twins_with_texts_for_those_who_cannot_see(
    tmp_path: Path,
) -> None:
    shown, _ = page(tmp_path / "run", numbers(), tmp_path / "out")
    images = [attributes for tag, attributes in shown.tags if tag == "img"]
    assert len(images) == 3 and all(one["alt"] for one in images)
    assert all(one["src"].startswith("data:image/webp;base64,") for one in images)
    assert "twin" in images[1]["alt"]
    for mark in ("read as money", "looks like fear-1", "no more of it than its twin"):
        assert mark in shown.text


def test_chance_stands_beside_accuracy(tmp_path: Path) -> None:
    shown, _ = page(tmp_path / "run", numbers(), tmp_path / "out")
    heading, *rows = shown.tables["images-0-concepts"]
    at = [name.split("\u00a0")[0].strip() for name in heading].index("chance")
    assert all(row[at] == "25%" for row in rows)
    assert "guessing would reach 25%" in shown.text
    assert "not told from guessing: fear" in shown.text


def test_families_come_first_and_a_table_of_few_rows_is_whole(tmp_path: Path) -> None:
    made = numbers()
    made["concepts"] = [part(f"concept-{n}") for n in range(24)]
    shown, _ = page(tmp_path / "few", made, tmp_path / "out-few")
    assert shown.tables["images-0-concepts"][1][0] == "all of the family"
    before = (
        '<div class="scroll whole" tabindex="0" role="region" aria-label="By concept and family">'
    )
    assert before in shown.markup
    made["concepts"].append(part("one-more"))
    shown, _ = page(tmp_path / "many", made, tmp_path / "out-many")
    assert before not in shown.markup


def test_the_share_of_emotions_found_is_told_with_what_guessing_would_reach(
    tmp_path: Path,
) -> None:
    shown, _ = page(tmp_path / "run", numbers(), tmp_path / "out")
    assert "the own emotion among 7 in 50% [10, 90], guessing 14%" in shown.text.replace(
        "\u00a0", " "
    )


def test_the_numbers_hold_every_image_and_no_pixel(tmp_path: Path) -> None:
    _, told = page(tmp_path / "run", numbers(), tmp_path / "out")
    grid = next(block for block in section_of(told)["blocks"] if block["kind"] == "images")
    assert [one["id"] for one in grid["groups"][0]["images"]] == ["fear-1", "fear-2"]
    assert grid["groups"][0]["images"][0]["twin_contrast"] == 2.5
    assert "base64" not in json.dumps(told)
    each = next(b for b in section_of(told)["blocks"] if b.get("id") == "images-0-each")
    assert len(each["rows"]) == 4


def test_what_differs_from_twins_is_a_warning_and_what_never_varies_no_row(
    tmp_path: Path,
) -> None:
    shown, _ = page(tmp_path / "run", numbers(), tmp_path / "out")
    told = ImageCheckNumbers.model_validate(numbers())
    assert any("brightness (higher by 0.9 sd)" in one for one in warnings(told))
    assert not any("contrast (" in one for one in warnings(told))
    assert [row[0] for row in shown.tables["images-0-matching"][1:]] == ["brightness", "contrast"]


def test_a_second_encoder_and_human_ratings_are_told() -> None:
    told = " ".join(sentences(ImageCheckNumbers.model_validate(with_second(numbers()))))
    assert "the second 25%" in told and "kappa 0.70" in told
    assert "valence as tiny reads it" in told and "0.50" in told


def test_a_page_says_how_many_images_it_shows(tmp_path: Path) -> None:
    shown, _ = page(tmp_path / "run", numbers(), tmp_path / "out")
    assert "2 of 3 images shown, the most doubtful of each concept" in shown.text
    made = numbers()
    made["images"][3]["thumbnail"] = thumbnail(3)
    assert "all 3 shown" in checks_page(ImageCheckNumbers.model_validate(made))


def test_one_pair_has_no_interval_and_no_verdict() -> None:
    made = numbers()
    made["families"] = [part(None, n=1, n_pairs=1, contrast=[2.0, None, None])]
    told = " ".join(sentences(ImageCheckNumbers.model_validate(made)))
    assert "+2.0, one pair: no interval" in told
    assert "clearly" not in told and "unknown" not in told


def test_hostile_texts_are_shown_as_text(tmp_path: Path) -> None:
    made = with_second(numbers())
    made["set"] = made["remarks"] = made["encoders"][0]["name"] = HOSTILE
    made["remarks"] = [HOSTILE]
    for one in (*made["images"], *made["concepts"], *made["families"], *made["matching"]):
        one["family"] = HOSTILE
    for one in made["images"]:
        one |= {"predicted": HOSTILE, "emotion_predicted": HOSTILE, "concept": HOSTILE}
        one["id"] = one["id"] + HOSTILE
    made["concepts"][0]["concept"] = HOSTILE
    made["duplicates"]["groups"] = [[one["id"] for one in made["images"][:2]]]
    shown, _ = page(tmp_path / "run", made, tmp_path / "out")
    assert not any("onerror" in attributes for _, attributes in shown.tags)
    assert len(shown.scripts) == 1 and "alert(1)" not in shown.scripts[0]
    assert "\x1b" not in shown.markup


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example/a.webp",
        "data:image/svg+xml;base64,AAAA",
        'data:image/webp;base64,AAAA" onerror="alert(1)',
        "data:image/webp;base64," + "A" * 50_000,
    ],
)
def test_only_a_small_image_of_ours_is_shown(tmp_path: Path, address: str) -> None:
    made = numbers()
    made["images"][0]["thumbnail"] = address
    with pytest.raises(UserError, match=r"images\.json"):
        page(tmp_path / "run", made, tmp_path / "out")


def drop_images(made: dict[str, Any]) -> None:
    del made["images"]


def other_version(made: dict[str, Any]) -> None:
    made["schema_version"] = 2


def unknown_key(made: dict[str, Any]) -> None:
    made["images"][0]["colour"] = "blue"


@pytest.mark.parametrize("spoil", [drop_images, other_version, unknown_key])
def test_a_file_of_another_form_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None]
) -> None:
    made = numbers()
    spoil(made)
    with pytest.raises(UserError):
        page(tmp_path / "run", made, tmp_path / "out")


def test_a_report_without_checks_has_no_section() -> None:
    assert "images" not in {section.id for section in sections(contents(models=1, flips=0))}


def test_without_an_encoder_the_page_says_so() -> None:
    made = numbers()
    read = ("probability_concept", "predicted", "probability_emotion", "emotion_predicted")
    for one in made["images"]:
        for key in (*read, "twin_contrast", "alignment"):
            del one[key]
    unread = {"concept", "family", "level", "emotion", "n", "n_twins", "n_duplicates", "second"}
    for name in ("concepts", "families"):
        made[name] = [{key: one[key] for key in unread} for one in made[name]]
    made |= {"encoders": [], "norms": [], "emotions": []}
    told = ImageCheckNumbers.model_validate(made)
    assert "read by no encoder" in checks_page(told) and sentences(told) == []


def test_the_own_page_stands_alone() -> None:
    shown = ParsedPage(checks_page(ImageCheckNumbers.model_validate(numbers())))
    assert "Content-Security-Policy" in shown.markup
    assert not [a for _, a in shown.tags if a.get("src", "data:").split(":")[0] != "data"]
