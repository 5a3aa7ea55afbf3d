"""Images in a report: by what they show, and against images without emotion."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from emo_harness.effects import paired_gain
from emo_harness.report.contents import ReportContents
from emo_harness.report.family_claims import family_claims
from emo_harness.report.groups import Group, groups_of
from emo_harness.report.page import render
from emo_harness.report.page_numbers import page_numbers
from emo_harness.report.sections.visual import section
from emo_harness.report.visual import VisualEffects, VisualRow, visual_effects
from emo_harness.runs import ArmScores
from tests.report.made_scores import arm, made_scores, one_group
from tests.report.made_visual import EMOTIONS, image, visual_scores


def one_effect(scores: ArmScores) -> VisualEffects:
    (found,) = visual_effects([one_group(scores)])
    return found


def contents_of(*scores: ArmScores) -> ReportContents:
    groups = groups_of(scores)
    return ReportContents(
        rows=(),
        claims=tuple(family_claims(groups)),
        leaderboard=(),
        flips=(),
        n_flips=0,
        ablations=(),
        facts=(),
        margin_pp=1.0,
        remarks=(),
        run_folders=(),
        command="",
        visual=visual_effects(groups),
    )


def row(found: VisualEffects, name: str) -> VisualRow:
    return next(one for one in found.rows if one.name == name)


def columns(group: Group, *ids: str) -> np.ndarray:
    place = {a.id: i for i, a in enumerate(group.arms)}
    return group.scores[:, [place[i] for i in ids]]


def test_a_concept_is_the_mean_of_its_images_against_control_and_its_own_controls() -> None:
    scores = visual_scores()
    group, found = one_group(scores), one_effect(scores)
    fear = columns(group, "img:fear-1", "img:fear-2")
    assert row(found, "fear").gain == paired_gain(fear, columns(group, "control"), group.strata)
    for kind, own in (
        ("neutral", "img:fear-1-twin"),
        ("pixel-scrambled", "img:pixel-scrambled:fear-1"),
        ("phase-scrambled", "img:phase-scrambled:fear-1"),
        ("grey", "img:grey"),
    ):
        assert row(found, "fear").against[kind] == paired_gain(
            fear, columns(group, own), group.strata
        )
    assert row(found, "fear").against["no-image"].method == "none"


def test_presence_of_a_image_is_told_from_what_it_shows() -> None:
    acts = one_effect(visual_scores(presence=0.1, effect={}))
    whole = acts.rows[0]
    assert whole.gain.high_pp < 0
    assert whole.against["pixel-scrambled"].mean_pp == 0
    made = section(contents_of(visual_scores(presence=0.1, effect={})))
    assert made is not None
    assert "cannot be told from what the mere presence of an image does" in render([made], "")
    shows = section(contents_of(visual_scores(effect=dict.fromkeys(EMOTIONS, 0.2))))
    assert shows is not None
    assert "more than the mere presence of an image does" in render([shows], "")


def test_a_image_is_held_against_its_own_twin_and_a_sentence_against_sentences() -> None:
    sentence = arm("ea01", "attack", text="Your friend Bob is sick.")
    neutral = arm("neutral-1", "placebo", "neutral", text="The table is made of wood.")
    group = one_group(visual_scores(extra=(sentence, neutral)))
    nearest = {
        a.id: None if j is None else group.arms[j].id
        for a, j in zip(group.arms, group.nearest_neutral, strict=True)
    }
    assert nearest["img:sadness-1"] == "img:sadness-1-twin"
    assert nearest["img:sadness-2"] == "img:sadness-1-twin"
    assert nearest["ea01"] == "neutral-1"
    images = group.families["visual-attack"]
    assert {group.arms[j].id for j in group.neutral_like(images)} == {
        f"img:{emotion}-1-twin" for emotion in EMOTIONS
    }
    assert [group.arms[j].id for j in group.neutral_like(group.families["attack"])] == ["neutral-1"]


def test_grey_is_the_control_where_every_request_has_a_image() -> None:
    found = one_effect(visual_scores(control_image="grey"))
    assert found.control == "grey image"
    assert found.rows[0].against["grey"] == found.rows[0].gain


def test_high_arousal_is_held_against_low() -> None:
    scores = visual_scores()
    group, found = one_group(scores), one_effect(scores)
    high = columns(group, *(f"img:{emotion}-2" for emotion in EMOTIONS))
    low = columns(group, *(f"img:{emotion}-1" for emotion in EMOTIONS))
    assert found.high_over_low == paired_gain(high, low, group.strata)


def test_a_image_with_a_sentence_is_held_against_either_alone() -> None:
    sentence = arm("ea01", "attack", text="Your friend Bob is sick.")
    both = arm(
        "img:fear-1+ea01",
        "attack+visual-attack",
        text="Your friend Bob is sick.",
        image=image("fear-1", "fear", arousal="low"),
    )
    scores = visual_scores(extra=(sentence, both))
    group = one_group(scores)
    found = {one.family: one for one in visual_effects([group])}
    (combined,) = found["attack+visual-attack"].combined
    own = columns(group, both.id)
    assert combined.over_image == paired_gain(own, columns(group, "img:fear-1"), group.strata)
    assert combined.over_sentence == paired_gain(own, columns(group, "ea01"), group.strata)
    assert found["visual-attack"].combined == ()


def test_families_of_sentences_have_no_part_in_it() -> None:
    scores = made_scores({"control": np.ones(20), "ea01": np.zeros(20)})
    assert visual_effects(groups_of([scores])) == ()
    assert section(contents_of(scores)) is None


def test_images_stand_beside_sentences_of_the_same_model() -> None:
    rng = np.random.default_rng(0)
    texts = made_scores(
        {name: (rng.uniform(size=400) < 0.6).astype(float) for name in ("control", "ea01", "ea02")}
    )
    made = section(contents_of(visual_scores(), texts))
    assert made is not None
    numbers = json.dumps(page_numbers([made], "", "")["sections"], allow_nan=False)
    assert '"visual-beside"' in numbers and '"sentences"' in numbers
    alone = section(contents_of(visual_scores()))
    assert alone is not None and all(block.kind != "table" for block in alone.blocks)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_questions_are_told_without_numbers_that_are_none(n: int) -> None:
    made = section(contents_of(visual_scores(n=n)))
    assert made is not None
    page = render([made], "")
    assert "nan" not in page.replace("nance", "")
    found = one_effect(visual_scores(n=n))
    assert all(math.isnan(one.gain.low_pp) == (n < 2) for one in found.rows)
