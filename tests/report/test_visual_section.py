"""Images in a report: by what they show, and against images without emotion."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.effects import mde_pp, paired_gain
from emo_harness.report.blocks import Section, Table
from emo_harness.report.boards import boards
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import effect_rows
from emo_harness.report.effect_text import reported_tables
from emo_harness.report.family_claims import family_claims
from emo_harness.report.groups import Group, groups_of
from emo_harness.report.page import render
from emo_harness.report.page_numbers import page_numbers
from emo_harness.report.placed import placed
from emo_harness.report.sections import stimuli, verdicts
from emo_harness.report.sections.visual import section
from emo_harness.report.visual import Contrast, VisualEffects, VisualRow, visual_effects
from emo_harness.report.visual.words import TELLING, panel_sentence
from emo_harness.runs import ArmScores, read_runs
from tests.images.image_sets import write_image_set
from tests.report.made_scores import arm, made_scores, one_group
from tests.report.made_visual import EMOTIONS, controls, image, visual_arms, visual_scores
from tests.runs.test_visual_runs import visual_run


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


def test_a_concept_is_held_against_control_and_images_with_controls_against_their_own() -> None:
    scores = visual_scores()
    group, found = one_group(scores), one_effect(scores)
    fear, control = columns(group, "img:fear-1", "img:fear-2"), columns(group, "control")
    assert row(found, "fear").gain == paired_gain(fear, control, group.strata)
    with_controls = columns(group, "img:fear-2")
    for kind, own in (
        ("neutral", "img:fear-2-twin"),
        ("pixel-scrambled", "img:pixel-scrambled:fear-2"),
        ("phase-scrambled", "img:phase-scrambled:fear-2"),
    ):
        against = row(found, "fear").against[kind]
        assert against.gain == paired_gain(with_controls, columns(group, own), group.strata)
        assert against.controls_gain == paired_gain(columns(group, own), control, group.strata)
        assert against.n_images == 1 == row(found, "img:fear-2").against[kind].n_images
        assert row(found, "img:fear-1").against[kind] == Contrast()
    grey = row(found, "fear").against["grey"]
    assert grey.gain == paired_gain(fear, columns(group, "img:grey"), group.strata)
    assert grey.n_images == 2
    assert row(found, "fear").against["no-image"] == Contrast()


def test_images_that_their_twins_equal_differ_from_no_twin_whatever_the_others_do() -> None:
    rng = np.random.default_rng(0)
    low, high, anger = ((rng.random(400) < share).astype(float) for share in (0.8, 0.2, 0.5))
    own = [
        arm(f"img:{name}", "visual-attack", text="", image=image(name, concept, arousal=arousal))
        for name, concept, arousal in (
            ("fear-1", "fear", "low"), ("fear-2", "fear", "high"), ("anger-1", "anger", "low"),
        )
    ]  # fmt: skip
    twins = [one for name in ("fear-1", "fear-2") for one in controls(name, "fear")[:1]]
    cells = {"control": low, "img:fear-1": low, "img:fear-2": high, "img:anger-1": anger}
    cells |= {"img:fear-1-twin": low, "img:fear-2-twin": high}
    found = one_effect(made_scores(cells, [*own, *twins]))
    for name, n in (("all images", 2), ("fear", 2), ("high", 1), ("low", 1), ("img:fear-2", 1)):
        against = row(found, name).against["neutral"]
        assert (against.gain.mean_pp, against.n_images) == (0, n)
    assert row(found, "anger").against["neutral"] == Contrast()


def test_presence_of_an_image_is_told_from_what_it_shows() -> None:
    acts = one_effect(visual_scores(presence=0.1, effect={}))
    whole = acts.rows[0]
    assert whole.gain.high_pp < 0
    assert whole.against["pixel-scrambled"].gain.mean_pp == 0
    made = section(contents_of(visual_scores(presence=0.1, effect={})))
    assert made is not None
    page = render([made], "")
    assert "Whether they do more than their neutral twins and their pixel-scrambled copies" in page
    shows = section(contents_of(visual_scores(effect=dict.fromkeys(EMOTIONS, 0.2))))
    assert shows is not None
    assert "more than the mere presence of an image does" in render([shows], "")


def test_an_image_is_held_against_its_own_twin_and_a_sentence_against_sentences() -> None:
    sentence = arm("ea01", "attack", text="Your friend Bob is sick.")
    neutral = arm("neutral-1", "placebo", "neutral", text="The table is made of wood.")
    group = one_group(visual_scores(extra=(sentence, neutral)))
    nearest = {
        a.id: None if j is None else group.arms[j].id
        for a, j in zip(group.arms, group.nearest_neutral, strict=True)
    }
    assert nearest["img:sadness-1"] == "img:sadness-1-twin"
    assert nearest["img:sadness-2"] is None
    assert nearest["ea01"] == "neutral-1"

    def ids(places: list[int]) -> list[str]:
        return [group.arms[i].id for i in places]

    held, twins = group.beside_neutral(group.families["visual-attack"])
    assert ids(held) == ["img:sadness-1", "img:fear-2", "img:happiness-1"]
    assert ids(twins) == [f"{name}-twin" for name in ids(held)]
    said, neutrals = group.beside_neutral(group.families["attack"])
    assert (ids(said), ids(neutrals)) == (["ea01"], ["neutral-1"])
    (claim,) = (c for c in family_claims([group]) if c.family == "visual-attack")
    own = paired_gain(columns(group, *ids(held)), columns(group, *ids(twins)), group.strata)
    assert claim.placebo_gain_pp == own.mean_pp


def test_grey_is_the_control_where_every_request_has_an_image() -> None:
    found = one_effect(visual_scores(control_image="grey"))
    assert found.control == "grey image"
    assert found.rows[0].against["grey"].gain == found.rows[0].gain
    assert one_effect(visual_scores()).control == "no image"


def test_what_control_showed_is_read_from_the_record_of_a_real_run(tmp_path: Path) -> None:
    images = write_image_set(tmp_path / "set")
    for control_image, told in (("grey", "grey image"), ("none", "no image")):
        run = visual_run(tmp_path / control_image, images, control_image=control_image)
        found = visual_effects(groups_of(read_runs([run], progress=False).scores))
        assert [one.control for one in found] == [told]
        against = found[0].rows[0].against["grey"]
        assert (against.controls_gain.n_differing, against.gain) == (0, found[0].rows[0].gain)
        assert against.n_images == len(found[0].rows[0].arms)


def test_high_arousal_is_held_against_low() -> None:
    scores = visual_scores()
    group, found = one_group(scores), one_effect(scores)
    high = columns(group, *(f"img:{emotion}-2" for emotion in EMOTIONS))
    low = columns(group, *(f"img:{emotion}-1" for emotion in EMOTIONS))
    assert found.high_over_low == paired_gain(high, low, group.strata)


def test_an_image_with_a_sentence_is_held_against_either_alone() -> None:
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


def test_images_with_sentences_have_no_control_images_and_no_facets() -> None:
    both = arm(
        "img:fear-2+ea01",
        "attack+visual-attack",
        text="Your friend Bob is sick.",
        image=image("fear-2", "fear", arousal="high"),
    )
    scores = visual_scores(extra=(both,), effect=dict.fromkeys(EMOTIONS, 0.2))
    found = {one.family: one for one in visual_effects([one_group(scores)])}
    one = found["attack+visual-attack"]
    assert [r.facet for r in one.rows] == ["all"]
    assert set(one.rows[0].against.values()) == {Contrast()}
    assert math.isnan(one.high_over_low.mean_pp)
    told = panel_sentence(one, 1)
    assert "presence" not in told and "twin" not in told
    made = section(contents_of(scores))
    assert made is not None
    assert [block.kind for block in made.blocks[:4]] == ["prose", "figure", "prose", "table"]
    (claim,) = (c for c in family_claims(groups_of([scores])) if c.family == one.family)
    assert math.isnan(claim.placebo_gain_pp)


def told_of(**made: Any) -> str:
    return panel_sentence(one_effect(visual_scores(**made)), 1)


def test_a_null_says_what_it_could_have_missed() -> None:
    assert "cannot be said from 1 question" in told_of(n=1)
    undecided = told_of(n=60, effect={}, presence=0.0)
    assert "undecided: a difference of up to" in undecided and "could have been missed" in undecided
    decided = one_effect(visual_scores(n=2000, effect={}, presence=0.1))
    assert "decided: no difference larger than the margin of 1 pp" in panel_sentence(decided, 1)
    assert "undecided" in panel_sentence(replace(decided, margin_pp=0.01), 1)


def test_what_could_have_been_missed_is_what_would_be_shown_with_eighty_per_cent_power() -> None:
    found = one_effect(visual_scores(n=60, effect={}, presence=0.0))
    missed = max(mde_pp(found.rows[0].against[kind].gain) for kind in TELLING)
    assert f"of up to {missed:.1f} pp" in panel_sentence(found, 1)


@pytest.mark.parametrize(
    ("presence", "effect", "told"),
    [
        (0.02, 0.2, "They lower the score by more than the mere presence of an image does."),
        (-0.02, -0.2, "They raise the score by more than the mere presence of an image does."),
        (-0.25, 0.1, "What they show lowers the score, and the mere presence of an image does the"),
        (-0.15, 0.15, "but over control nothing is decided"),
    ],
)
def test_more_than_presence_heeds_the_sign_and_the_gain_over_control(
    presence: float, effect: float, told: str
) -> None:
    assert told in told_of(presence=presence, effect=dict.fromkeys(EMOTIONS, effect))


def test_without_controls_nothing_is_said_of_emotion() -> None:
    kept = {a.id for a in visual_arms() if a.kind != "placebo"}
    group = one_group(visual_scores(effect=dict.fromkeys(EMOTIONS, 0.2)))
    cells = {a.id: group.scores[:, i] for i, a in enumerate(group.arms) if a.id in kept}
    found = one_effect(made_scores(cells, [a for a in group.arms if a.id in kept]))
    assert "emotion cannot be told" in panel_sentence(found, 1)


def test_a_large_unparsed_share_is_told() -> None:
    flags = {a.id: np.arange(400) % 6 > 0 for a in visual_arms()}
    assert "83% of the answers beside images (83% under control)" in told_of(unparsed=flags)
    assert "could not be read" not in told_of()


def test_a_contrast_over_some_images_says_over_how_many() -> None:
    told = told_of()
    assert "Held against controls of 3 of the 6 images: " in told
    assert "Held against controls of all images: " in told and "over plain grey." in told
    made = section(contents_of(visual_scores()))
    assert made is not None
    page = render([made], "")
    assert "(1 of 2)" in page and "(3 of 6)" in page


def test_q_does_not_take_images_that_answer_alike_for_many_questions() -> None:
    """Two questions lost by every image are two questions."""
    arms = [a for a in visual_arms() if a.placebo in (None, "pixel-scrambled")]
    cells = {a.id: np.ones(60) for a in arms}
    for a in arms:
        if a.kind == "stimulus":
            cells[a.id][:2] = 0
    found = one_effect(made_scores(cells, arms))
    assert all(r.q > 0.3 for r in found.rows[1:])
    assert all(r.q_scrambled > 0.3 for r in found.rows[1:] if r.against["pixel-scrambled"].n_images)


SAID = "Your friend Bob is sick."


def with_a_sentence() -> ArmScores:
    """Images, a sentence, and both together."""
    sentence = arm("ea01", "attack", text=SAID)
    own = image("fear-2", "fear", arousal="high")
    both = arm("img:fear-2+ea01", "attack+visual-attack", text=SAID, image=own)
    return visual_scores(extra=(sentence, both))


def test_headings_say_where_images_stood() -> None:
    groups = groups_of([with_a_sentence()])
    contents = contents_of(with_a_sentence())
    told = {claim.family: placed([claim]) for claim in contents.claims}
    assert told == {
        "visual-attack": "image first",
        "attack": "suffix",
        "attack+visual-attack": "image first, sentence suffix",
    }
    titles = [board.title for board in boards(contents)]
    assert any(" · image first · " in title for title in titles)
    assert any(" · placement suffix · " in title for title in titles)
    ((title, _),) = reported_tables(effect_rows(groups))
    assert "visual-attack, image first, sentence suffix (" in title
    ((title, _),) = reported_tables(effect_rows(groups_of([visual_scores()])))
    assert "visual-attack, image first (" in title
    last = visual_scores(settings={"image_order": "last"})
    assert placed(effect_rows(groups_of([last]))) == "image last"


def test_stimuli_that_are_images_are_drawn_by_arousal_and_not_by_length() -> None:
    def stimuli_of(scores: ArmScores) -> Section:
        contents = contents_of(scores)
        rows = tuple(effect_rows(groups_of([scores]), contents.claims))
        made = stimuli.section(replace(contents, rows=rows))
        assert made is not None
        return made

    made = stimuli_of(visual_scores())
    figure = next(block for block in made.blocks if block.kind == "figure")
    assert "arousal of the image" in figure.svg.inline and "length" not in figure.svg.inline
    table = made.blocks[0]
    assert isinstance(table, Table) and table.caption == "The stimuli"
    names = [column.name for column in table.columns]
    assert {"shows", "arousal"} <= set(names) and not {"length", "demand"} & set(names)
    assert len(table.rows) == 6
    alike = [a for a in visual_arms() if a.image is None or a.image.arousal != "high"]
    plain = stimuli_of(made_scores({a.id: np.ones(20) for a in alike}, alike))
    assert all(block.kind != "figure" for block in plain.blocks)
    mixed = stimuli_of(with_a_sentence()).blocks[0]
    assert isinstance(mixed, Table)
    assert {"length", "arousal"} <= {column.name for column in mixed.columns}
    texts = stimuli_of(made_scores({"control": np.ones(20), "ea01": np.ones(20)})).blocks[0]
    assert isinstance(texts, Table) and texts.caption == "The sentences"
    assert "shows" not in {column.name for column in texts.columns}


def test_verdicts_on_images_name_their_twins() -> None:
    made = verdicts.section(contents_of(with_a_sentence()))
    assert made is not None
    page = render([made], "")
    assert "images with a neutral twin over it" in page
    assert "no placebo shows an image with a sentence" in page
    assert "no neutral placebo was asked" in page


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


def test_gains_over_grey_and_over_no_image_are_on_boards_of_their_own() -> None:
    contents = contents_of(visual_scores(), visual_scores(control_image="grey"))
    titles = [board.title for board in boards(contents)]
    assert len(titles) == len(set(titles)) == 2
    assert "over no image" in titles[0] and "over a grey image" in titles[1]
    assert all(len(board.labels) == 1 for board in boards(contents))
