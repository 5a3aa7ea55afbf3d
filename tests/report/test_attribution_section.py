"""Attribution on the page: shaded prompts, top words, shares, and how far to trust a method."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.report.attribution import Attribution, section_blocks
from emo_harness.report.attribution.image_figure import image_figure
from emo_harness.report.attribution.numbers import RankAgreement
from emo_harness.report.attribution.scale import ShadeScale
from emo_harness.report.attribution.top_words import _forest_rows
from emo_harness.report.attribution.verdicts import agreement_words, change_words, sentences
from emo_harness.report.blocks import Figure, Prose, ShadedTexts
from emo_harness.report.page import write_page
from emo_harness.report.page_numbers import tables
from emo_harness.report.plain_text import visible
from emo_harness.report.sections import sections
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents
from tests.report.synthetic_attribution import METHODS, attribution, bounds, side, with_posthoc

FEW = ("leave-one-out", "gradient-norm")
HOSTILE = "</b></details><script>alert(1)</script> <img/src=x\u202e\x1b[31m\ud800& \"quoted\" 'q'"


def page(made: object, folder: Path) -> tuple[str, dict[str, Any]]:
    run = with_posthoc(folder / "run", made)
    base = contents(models=1, subtasks=2, stimuli=2, flips=0, run_folders=(run,))
    return written(base, folder / "out")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """What was written of two flips, the page, and its numbers."""
    made = attribution(flips=2)
    return made, *page(made, tmp_path_factory.mktemp("usual"))


def section_of(told: dict[str, Any]) -> dict[str, Any]:
    (found,) = (s for s in told["sections"] if s["id"] == "attribution")
    return dict(found)


def prompts(markup: str) -> list[str]:
    """The texts of all shaded prompts of the page, in order."""
    found = re.findall(r'<div class="prompt">(.*?)</div>', markup, flags=re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]*>", "", one)) for one in found]


def blocks_of(made: dict[str, Any]) -> list[Any]:
    return section_blocks(Attribution.model_validate(made), "attribution-0")


def test_a_run_without_attribution_has_no_such_section(tmp_path: Path) -> None:
    base = contents(models=1, subtasks=1, stimuli=1, flips=0, run_folders=(tmp_path,))
    assert "attribution" not in {section.id for section in sections(base)}


def test_prompts_are_shaded_and_join_to_the_prompt(usual: tuple[Any, str, Any]) -> None:
    made, markup, _ = usual
    shown = prompts(markup)
    for number, flip in enumerate(made["shown"]):
        for place, name in enumerate(("control", "arm_side")):
            whole = "".join(piece["text"] for piece in flip[name]["pieces"])
            for method in range(len(METHODS)):
                text = shown[2 * (number * len(METHODS) + method) + place]
                assert text == "special token" + whole
    read = ParsedPage(markup)
    frames = re.findall(r"<mark>(.*?)</mark>", markup, flags=re.DOTALL)
    assert {re.sub(r"<[^>]*>", "", f) for f in frames} == {
        html.escape(flip["stimulus_text"], quote=False).replace("'", "&#39;")
        for flip in made["shown"]
    }
    assert len([a for a in read.all("b") if a.get("title")]) > 100


def test_leave_one_out_comes_first_and_alone_is_open(tmp_path: Path) -> None:
    markup, _ = page(attribution(methods=METHODS[::-1]), tmp_path)
    pictures = re.findall(
        r'<details class="picture"([^>]*)><summary>([^<]*)', markup[: markup.index("Top words by")]
    )
    names = [name for _, name in pictures]
    assert names[0] == "Leave-one-word-out" and len(names) == 10
    assert [("open" in mark) for mark, _ in pictures] == [n == names[0] for n in names]


def test_numbers_stand_beside_every_picture(tmp_path: Path) -> None:
    made = attribution(flips=1)
    flip = made["shown"][0]
    flip["control"] |= {"log_probability": -4.25, "answer": "(C)"}
    flip["arm_side"] |= {"log_probability": -1.5, "agreement": {"gradient-x-input": 0.37}}
    markup, told = page(made, tmp_path)
    text = ParsedPage(markup).text.replace("\u00a0", " ")
    assert "−4.25 → −1.50 nats (+2.75 with the stimulus)" in text
    assert "+0.37 with the stimulus" in text and "(C)" in text and flip["target"] in text
    assert text.count("rank agreement with leave-one-word-out:") == len(METHODS) - 1
    item = next(b for b in section_of(told)["blocks"] if b["kind"] == "shades")["items"][0]
    assert item["control_log_probability"] == -4.25
    assert item["arm_agreement_gradient-x-input"] == 0.37
    assert item["arm_agreement_gradient-norm"] is None


def test_raw_values_are_in_the_json_and_in_the_csv_file(usual: tuple[Any, str, Any]) -> None:
    made, markup, told = usual
    item = next(b for b in section_of(told)["blocks"] if b["kind"] == "shades")["items"][0]
    pieces = [
        piece
        for name in ("control", "arm_side")
        for piece in made["shown"][0][name]["pieces"]
        if piece["role"] != "space"
    ]
    rows = item["table"]["rows"]
    assert [row[4:] for row in rows] == [[p["scores"][m] for m in METHODS] for p in pieces]
    links = {a["download"]: a["href"] for a in ParsedPage(markup).all("a") if "download" in a}
    name = next(n for n in links if n.endswith("-11.csv"))
    saved = list(csv.reader(io.StringIO(unquote(links[name].split(",", 1)[1]))))
    assert len(saved) == len(rows) + 1
    assert [float(v) for v in saved[1][4:]] == pytest.approx(rows[0][4:], rel=1e-5)


def test_a_reader_without_sight_gets_the_numbers(usual: tuple[Any, str, Any]) -> None:
    made, markup, _ = usual
    made_page = ParsedPage(markup)
    (name,) = (n for n in made_page.tables if n.endswith("-11-strongest"))
    heading, *rows = made_page.tables[name]
    stimulus = made["shown"][0]["stimulus_text"].split()
    assert [row[2] for row in rows if row[3] == "stimulus"] == stimulus
    assert {"Leave-one-word-out", "Gradient norm"} <= set(heading)
    assert all("title" not in own or own["title"] for own in made_page.all("b"))


def test_hostile_text_is_shown_not_obeyed(tmp_path: Path) -> None:
    made = attribution(flips=1, model=HOSTILE, forced=HOSTILE, is_same_model=False)
    rng = np.random.default_rng(1)
    for name in ("control", "arm_side"):
        made["shown"][0][name] = side(
            [("\nQ: " + HOSTILE, "prompt"), (HOSTILE, "stimulus")], rng, answer=HOSTILE * 100
        )
    made["shown"][0] |= {"target": HOSTILE, "stimulus_text": HOSTILE, "arm": HOSTILE}
    made["shown"][0] |= {"subtask": HOSTILE, "benchmark": HOSTILE, "family": HOSTILE}
    group = made["groups"][0]
    for rows in (group["words"], group["top_words"], group["shares"], group["whole"]):
        for row in rows:
            row |= {k: HOSTILE for k in ("word", "arm", "family") if row.get(k)}
    made["unknown"] = {"attention-rollout": HOSTILE}
    markup, _ = page(made, tmp_path)
    read = ParsedPage(markup)
    assert len(read.scripts) == 1 and not read.all("img")
    assert not [n for _, own in read.tags for n in own if n.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", markup)
    # A prompt that begins with a new line keeps it.
    assert prompts(markup)[0] == visible("special token\nQ: " + HOSTILE + HOSTILE)


def spoil_kind(made: dict[str, Any]) -> None:
    made["shown"][0]["kind"] = "turned"


def spoil_bounds(made: dict[str, Any]) -> None:
    made["groups"][0]["top_words"][0]["contribution"] = [0.1, 0.2]


def spoil_piece(made: dict[str, Any]) -> None:
    del made["shown"][0]["control"]["pieces"][0]["role"]


def spoil_method(made: dict[str, Any]) -> None:
    made["methods"] = ["saliency"]


def spoil_methods(made: dict[str, Any]) -> None:
    made["methods"] = []


def spoil_version(made: dict[str, Any]) -> None:
    made["schema_version"] = 2


def spoil_score(made: dict[str, Any]) -> None:
    made["shown"][0]["arm_side"]["pieces"][2]["scores"]["leave-one-out"] = "0.2"


def spoil_key(made: dict[str, Any]) -> None:
    made["extra"] = 1


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_kind,
        spoil_bounds,
        spoil_piece,
        spoil_method,
        spoil_methods,
        spoil_version,
        spoil_score,
        spoil_key,
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, spoil: Callable[[dict[str, Any]], None]) -> None:
    made = attribution(flips=1)
    spoil(made)
    with pytest.raises(UserError, match=r"attribution\.json"):
        page(made, tmp_path)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    run = with_posthoc(tmp_path / "run", {})
    (run / "posthoc" / "attribution.json").write_text('{"schema_version": 1, "mod')
    base = contents(models=1, subtasks=1, stimuli=1, flips=0, run_folders=(run,))
    with pytest.raises(UserError, match=r"attribution\.json"):
        sections(base)


def test_unsigned_methods_have_one_sided_scales() -> None:
    block = next(b for b in blocks_of(attribution()) if isinstance(b, ShadedTexts))
    for item in block.items:
        for picture in item.pictures:
            shades = {shade[:1] for shade, _ in picture.key}
            used = {w.shade[:1] for t in picture.texts for r in t.runs for w in r.words}
            unsigned = picture.heading in ("Gradient norm", "Attention rollout")
            assert shades == ({"", "s"} if unsigned else {"", "d", "u"})
            assert used <= shades


def test_pictures_of_one_method_share_a_scale() -> None:
    block = next(b for b in blocks_of(attribution(flips=3)) if isinstance(b, ShadedTexts))
    keys = {tuple(item.pictures[0].key) for item in block.items}
    assert len(keys) == 1


def test_top_words_of_every_family_go_from_the_largest_down() -> None:
    group = Attribution.model_validate(attribution(methods=FEW)).groups[0]
    rows = [word for word in group.top_words if word.method == "leave-one-out"]
    drawn = list(_forest_rows(rows, ShadeScale(0.1, True)))
    sizes: list[list[float]] = []
    for row in drawn:
        if math.isnan(row.value):
            sizes.append([])
        else:
            sizes[-1].append(abs(row.value))
    assert len({word.family for word in rows}) == len(sizes)
    assert all(own == sorted(own, reverse=True) and own for own in sizes)


def test_sums_have_units_and_methods_without_sign_are_told(
    usual: tuple[dict[str, Any], str, dict[str, Any]],
) -> None:
    _, markup, _ = usual
    text = ParsedPage(markup).text
    assert re.search(r"its words add up to [+\u2212][\d.]+\u00a0nats", text)
    assert "shaded purple" in text


def test_one_question_is_no_plural_and_leaves_words_unshaded() -> None:
    made = attribution(flips=0, n_questions=1, methods=FEW)
    made["groups"][0]["n_prompts"] = 1
    for word in made["groups"][0]["words"]:
        word |= {"n": 1, "contribution": [word["contribution"][0], None, None]}
    blocks = blocks_of(made)
    assert any(isinstance(b, Prose) and b.text.startswith("1 question, 1 prompt,") for b in blocks)
    stimuli = next(b for b in blocks if isinstance(b, ShadedTexts))
    for item in stimuli.items:
        signed, unsigned = item.pictures
        assert re.search(r"stood in one question, so that there is no interval", signed.remarks[0])
        assert not any("one question" in told for told in unsigned.remarks)


def test_what_did_not_converge_is_flagged() -> None:
    made = attribution(flips=2)
    made["shown"][0]["control"]["converged"] = False
    made["shown"][0]["arm_side"]["converged"] = False
    for name in ("control", "arm_side"):
        made["shown"][1][name]["converged"] = None
    block = next(b for b in blocks_of(made) if isinstance(b, ShadedTexts))
    flagged = [
        (number, picture.heading)
        for number, item in enumerate(block.items)
        for picture in item.pictures
        if any("did not settle" in warning for warning in picture.warnings)
    ]
    assert flagged == [(0, "Integrated gradients")]
    (warning,) = block.items[0].pictures[1].warnings
    assert "under control and with the stimulus" in warning


def test_a_method_that_random_weights_do_not_change_is_not_to_be_trusted() -> None:
    made = attribution(flips=1)
    told = "\n".join(sentences(Attribution.model_validate(made)))
    assert "Attention rollout shows no agreement" in told and "not to be trusted" in told
    block = next(b for b in blocks_of(made) if isinstance(b, ShadedTexts))
    distrusted = [
        p.heading for p in block.items[0].pictures if p.warnings and "random" in p.warnings[0]
    ]
    assert distrusted == ["Attention rollout"]


def rank(value: float, half: float, method: str = "gradient-norm") -> RankAgreement:
    row = {"method": method, "n_prompts": 40, "rank": bounds(value, half)}
    return RankAgreement.model_validate(row)


def test_verdicts_follow_their_intervals() -> None:
    assert "much as" in agreement_words(rank(0.8, 0.1))
    assert "partly as" in agreement_words(rank(0.45, 0.1))
    assert "hardly" in agreement_words(rank(0.2, 0.1))
    assert "no agreement" in agreement_words(rank(0.7, 0.8))
    assert "other way round" in agreement_words(rank(-0.5, 0.1))
    assert "not compared" in agreement_words(None)
    assert change_words(rank(0.02, 0.1)) == "yes"
    assert change_words(rank(-0.8, 0.1)).startswith("no")
    assert change_words(rank(0.4, 0.05)).startswith("in part")
    assert change_words(rank(0.1, 0.6)).startswith("yes as far")
    assert change_words(None) == "not tried"


def test_unknown_numbers_are_dashes(tmp_path: Path) -> None:
    made = attribution(flips=1)
    for name in ("control", "arm_side"):
        made["shown"][0][name] |= {"log_probability": None, "score": None, "answer": None}
        for piece in made["shown"][0][name]["pieces"]:
            piece["scores"] = dict.fromkeys(METHODS)
    group = made["groups"][0]
    for row in (*group["words"], *group["top_words"], *group["whole"]):
        row["contribution"] = [None, None, None]
    for row in group["shares"]:
        row["share"] = [0.2, None, None]
    markup, _ = page(made, tmp_path)
    text = ParsedPage(markup[markup.index('<section id="attribution"') :]).text
    assert "nan" not in re.findall(r"[a-z]+", text.lower())


def test_a_file_of_one_method_and_no_flips_is_still_a_section(tmp_path: Path) -> None:
    made = attribution(flips=0, methods=("leave-one-out",), convergence=None, randomised=[])
    made |= {"agreement": [], "baseline": None}
    markup, told = page(made, tmp_path)
    kinds = [block["kind"] for block in section_of(told)["blocks"]]
    assert "figure" in kinds and "Integrated gradients" not in markup


def test_another_model_and_forced_are_stamped(tmp_path: Path) -> None:
    made = attribution(
        1, methods=FEW, is_same_model=False, forced="another revision (abc, not def)"
    )
    made["model"] = "another-model"
    markup, _ = page(made, tmp_path)
    warnings = re.findall(r'<div class="prose warning".*?</div>', markup, flags=re.DOTALL)
    told = " ".join(warnings)
    assert "another-model" in told and "another revision (abc, not def)" in told


def test_shares_stand_beside_an_equal_share() -> None:
    blocks = blocks_of(attribution())
    (figure,) = (b for b in blocks if isinstance(b, Figure) and b.id.endswith("-shares"))
    assert "an equal share would be 12.0%" in figure.alt
    assert "equal share, %" in [column.name for column in figure.table.columns]


def test_ten_long_flips_by_five_methods_stay_small(tmp_path: Path) -> None:
    run = with_posthoc(tmp_path / "run", attribution(flips=10, question_chars=3000))
    base = contents(models=1, subtasks=2, stimuli=2, flips=0)
    write_page(base, tmp_path / "without")
    write_page(replace(base, run_folders=(run,)), tmp_path / "with")
    sizes = [(tmp_path / n / "report.html").stat().st_size for n in ("without", "with")]
    assert sizes[1] - sizes[0] < 2_300_000


def test_tables_and_ids_of_the_page_hold_together(tmp_path: Path) -> None:
    made = attribution(flips=3, methods=FEW)
    made["groups"] = made["groups"] * 2
    run = with_posthoc(tmp_path / "run", made)
    base = contents(models=1, subtasks=2, stimuli=2, flips=0, run_folders=(run, tmp_path))
    read = ParsedPage(written(base, tmp_path / "out")[0])
    ids = [own["id"] for _, own in read.tags if "id" in own]
    assert len(ids) == len(set(ids))
    assert {table.id for table in tables(sections(base))} == set(read.tables)


def test_an_image_is_a_figure_with_its_numbers() -> None:
    values = np.arange(12.0).reshape(3, 4) - 5
    values[0, 0] = np.nan
    figure = image_figure(np.zeros((30, 40, 3), np.uint8), values, "image-0", "silhouette 7")
    assert len(figure.table.rows) == 12
    assert "row 3 and column 4" in figure.alt and "+6" in figure.alt
    assert json.dumps([row[2].value for row in figure.table.rows[1:]])
