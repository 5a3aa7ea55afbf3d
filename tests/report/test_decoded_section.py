"""The section on decoded stimuli: maps, curves, words and verdicts, from a run's own record."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.effects import holm, paired_gain
from emo_harness.errors import UserError
from emo_harness.report import board_table
from emo_harness.report.blocks import Figure
from emo_harness.report.claims import NO_SAMPLE
from emo_harness.report.contents import ReportContents
from emo_harness.report.decoded import series_of
from emo_harness.report.decoded.strip_blocks import Token, Words, strip_figure
from emo_harness.report.effect_text import reported_tables
from emo_harness.report.groups import groups_of
from emo_harness.report.numerals import gain
from emo_harness.report.page import render
from emo_harness.report.page_numbers import page_numbers
from emo_harness.report.sections import sections
from emo_harness.report.sections.decoded import section
from emo_harness.runs import AskedModel
from tests.report.made_decoded import (
    decoded_arm,
    decoded_arms,
    decoded_contents,
    decoded_scores,
    rising,
)
from tests.report.made_scores import made_scores
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents as synthetic

Numbers = dict[str, Any]


def told_of(made: ReportContents) -> tuple[ParsedPage, Numbers]:
    """A page of this section alone, and what report.json has of it."""
    found = section(made)
    assert found is not None
    (numbers,) = page_numbers([found], "", "")["sections"]
    return ParsedPage(render([found], "")), json.loads(json.dumps(numbers, allow_nan=False))


def figures(found: Numbers, end: str) -> list[Numbers]:
    return [b for b in found["blocks"] if b["kind"] == "figure" and b["id"].endswith(end)]


def verdicts(found: Numbers) -> list[Numbers]:
    return [v for b in found["blocks"] if b["kind"] == "verdicts" for v in b["verdicts"]]


def test_every_source_has_words_a_map_a_curve_and_a_verdict() -> None:
    scores = decoded_scores(decoded_arms(), rate=rising, n=80)
    page, found = told_of(decoded_contents(*scores))
    assert [v["about"].partition(" ")[0] for v in verdicts(found)] == ["prompt", "attack"]
    assert verdicts(found)[0]["verdict"] == "rises"
    assert len(figures(found, "-map")) == len(figures(found, "-curve")) == 2
    (strip,) = figures(found, "-words-0")
    columns = strip["table"]["columns"]
    kinds = {row[columns.index("kind")] for row in strip["table"]["rows"]}
    assert kinds == {"meta", "random", "neutral", "permuted", "shuffled"}
    assert "Decoded in org/m, asked of org/m (bbh, zero-shot, placement suffix)" in page.text


def test_cells_are_the_gains_of_each_layer_on_each_subtask() -> None:
    scores = decoded_scores(decoded_arms(sources=("prompt",)), n=70)
    _, found = told_of(decoded_contents(*scores))
    table = figures(found, "-map")[0]["table"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    column = {arm.id: i for i, arm in enumerate(scores[0].arms)}
    for one in scores:
        for layer in range(6):
            (row,) = (r for r in rows if (r["row"], r["layer"]) == (one.subtask, layer))
            gain = paired_gain(
                one.scores[:, column[f"decoded-prompt-l{layer:02}"]], one.scores[:, 0]
            )
            assert (row["gain pp"], row["low"]) == pytest.approx((gain.mean_pp, gain.low_pp))
    together = np.concatenate([one.scores for one in scores])
    (row,) = (r for r in rows if (r["kind"], r["layer"]) == ("random", 3))
    draws = [column["random-prompt-l03"], column["random-prompt-l03-2"]]
    assert row["gain pp"] == pytest.approx(
        100 * float((together[:, draws].mean(axis=1) - together[:, 0]).mean())
    )


def test_nothing_is_shown_where_nothing_is_there() -> None:
    arms = decoded_arms()
    same = {arm.id: np.tile([0.0, 1.0], 30) for arm in (*arms,)}
    scores = made_scores({"control": np.tile([0.0, 1.0], 30), **same}, arms, family="decoded")
    page, found = told_of(decoded_contents(scores))
    assert "No effect is shown: no meta prompt can be told from control or from random" in page.text
    assert {v["verdict"] for v in verdicts(found)} <= {
        "undecided",
        "no difference larger than the margin",
    }


def test_no_difference_is_a_verdict() -> None:
    scores = decoded_scores(decoded_arms(), n=800)
    page, found = told_of(decoded_contents(*scores, margin_pp=15))
    words = [v["verdict"] for v in verdicts(found)]
    assert words == ["no difference larger than the margin"] * 2
    # Which is a finding.
    assert "No effect is shown" not in page.text


def test_what_models_wrote_is_escaped_and_visible() -> None:
    scores = decoded_scores(decoded_arms())
    page, found = told_of(decoded_contents(*scores))
    assert not page.all("bold") and "<b>bold</b>" in page.text
    assert "喜び" in page.text and "\\n" in page.text and "␊" not in page.text
    assert all("\u202e" not in text for text in (page.text, json.dumps(found)))


def test_what_was_decoded_elsewhere_comes_after_what_is_the_models_own() -> None:
    here, there = decoded_arms(model="org/m"), decoded_arms(model="/models/there/other")
    scores = [
        *decoded_scores(here, model="other", settings={"decoded_in": "org/m"}),
        *decoded_scores(there, model="other", settings={"decoded_in": "other"}),
        *decoded_scores(here, model="org/m"),
    ]
    _, found = told_of(decoded_contents(*scores))
    headings = [b["heading"] for b in found["blocks"] if b["kind"] == "verdicts"]
    asked = [heading.partition(" (")[0] for heading in headings]
    assert asked == [
        "Decoded in other, asked of other",
        "Decoded in org/m, asked of org/m",
        "Transfer: decoded in org/m, asked of other",
    ]
    # The words are shown where they first come, the maps for every model.
    assert len(figures(found, "-words-0")) == 2 and len(figures(found, "-map")) == 6


def test_trends_are_corrected_together() -> None:
    arms = decoded_arms()
    scores = [*decoded_scores(arms, rate=rising), *decoded_scores(arms, model="other", seed=1)]
    _, found = told_of(decoded_contents(*scores))
    told = verdicts(found)
    assert [v["p_holm"] for v in told] == pytest.approx(holm([v["trend_p"] for v in told]))


@pytest.mark.parametrize(
    "arms",
    [
        decoded_arms(layers=[5]),
        decoded_arms(sources=("attack",)),
        decoded_arms(kinds=()),
        decoded_arms(kinds=("shuffled",)),
        decoded_arms(layers=[0, 3]),
        [arm for arm in decoded_arms() if arm.id not in ("random-prompt-l02", "neutral-l04")],
    ],
    ids=["one-layer", "one-source", "no-controls", "one-control", "two-layers", "holes"],
)
@pytest.mark.parametrize("subtasks", [("navigate",), ("navigate", "snarks")])
def test_whatever_was_asked_is_shown(arms: list[Any], subtasks: tuple[str, ...]) -> None:
    page, found = told_of(decoded_contents(*decoded_scores(arms, subtasks=subtasks)))
    n_sources = len({arm.family for arm in arms if arm.kind == "stimulus"})
    assert len(figures(found, "-map")) == n_sources == len(verdicts(found))
    n_layers = len({arm.decoded.layer for arm in arms})
    assert len(figures(found, "-curve")) == (n_sources if n_layers > 1 else 0)
    assert "nan" not in page.text.lower().split()


def test_one_layer_or_one_text_is_no_trend() -> None:
    page, _ = told_of(decoded_contents(*decoded_scores(decoded_arms(layers=[5]))))
    assert "One layer makes no trend" in page.text
    same = [replace(arm, text="One text.") for arm in decoded_arms(kinds=())]
    page, found = told_of(decoded_contents(*decoded_scores(same)))
    assert "All 6 layers decode to the same words" in page.text
    assert {v["verdict"] for v in verdicts(found)} == {"unknown"}


def test_without_random_vectors_it_is_said_that_they_are_missing() -> None:
    page, _ = told_of(decoded_contents(*decoded_scores(decoded_arms(kinds=()))))
    assert "No random vectors were asked" in page.text


def test_subtasks_asked_of_a_part_of_the_layers_leave_cells_empty() -> None:
    all_arms, few = decoded_arms(), decoded_arms(layers=[0, 1, 2])
    scores = [
        *decoded_scores(all_arms, subtasks=("navigate",)),
        *decoded_scores(few, subtasks=("snarks",)),
    ]
    _, found = told_of(decoded_contents(*scores))
    table = figures(found, "-map")[0]["table"]
    place = {name: i for i, name in enumerate(table["columns"])}
    unknown = [r for r in table["rows"] if r[place["gain pp"]] is None]
    assert {(r[place["row"]], r[place["layer"]]) for r in unknown} == {
        ("snarks", n) for n in (3, 4, 5)
    }


def test_stimuli_decoded_one_by_one_are_averaged_within_a_layer() -> None:
    singles = [
        replace(
            decoded_arm("prompt", "meta", layer, vector=name, n_layers=3),
            id=f"decoded-{name}-l{layer:02}",
            text=f"{name} {layer}",
        )
        for name in ("ep02", "ep08")
        for layer in range(3)
    ]
    arms = [*decoded_arms(range(3), ("prompt",)), *singles]
    found = series_of(arms)
    assert [series.name for series in found] == ["prompt", "prompt, each stimulus"]
    # Their controls are those of the family's vector.
    assert all(set(series.controls) >= {"random", "neutral"} for series in found)
    assert [len(own) for own in found[1].columns.values()] == [2, 2, 2]
    (scores,) = decoded_scores(arms, subtasks=("navigate",))
    page, told = told_of(decoded_contents(scores))
    assert [v["about"] for v in verdicts(told)] == [
        "prompt · 3 of 3 layers",
        "prompt, each stimulus · 3 of 3 layers, mean of 2 meta prompts each",
    ]
    table = figures(told, "-map")[1]["table"]
    row = dict(zip(table["columns"], table["rows"][1], strict=True))
    column = [arm.id for arm in scores.arms].index
    own = scores.scores[:, [column("decoded-ep02-l01"), column("decoded-ep08-l01")]]
    assert row["arm"] == "decoded-ep02-l01, decoded-ep08-l01"
    assert row["gain pp"] == pytest.approx(
        100 * float((own.mean(axis=1) - scores.scores[:, 0]).mean())
    )
    assert "prompt ep02" in page.text and "prompt ep08" in page.text


def test_controls_stand_beside_their_own_source_and_decoding_alone() -> None:
    arms = [*decoded_arms(range(2)), *decoded_arms(range(2), ("prompt",), model="other")]
    found = series_of(arms)
    assert [(s.name, s.decoded_in) for s in found] == [
        ("prompt", "org/m"),
        ("attack", "org/m"),
        ("prompt", "other"),
    ]
    for series in found:
        own = [arms[i] for kind in series.controls.values() for row in kind.values() for i in row]
        assert {arm.decoded.model for arm in own if arm.decoded} == {series.head.model}
        of = {arm.decoded.control_of for arm in own if arm.decoded}
        assert of == {None, series.head.source}


def test_other_reports_have_no_such_section() -> None:
    made = synthetic(models=1, subtasks=2, stimuli=2, flips=0)
    assert section(made) is None
    assert "decoded" not in {part.id for part in sections(made)}


def test_many_controls_do_not_crowd_the_other_sections(tmp_path: Path) -> None:
    arms = decoded_arms(range(12))
    made = decoded_contents(*decoded_scores(arms))
    markup, numbers = written(made, tmp_path)
    page = ParsedPage(markup)
    assert not {"map"} & {part["id"] for part in numbers["sections"]}
    assert [row[0] for row in page.tables["validity-placebos"][1:]] == ["neutral-5"]
    arms_table = [cell for row in page.tables["validity-arms"][1:] for cell in row]
    assert "(random: prompt), mean of 24" in arms_table and "random-prompt-l00" not in arms_table
    ((_, shown),) = reported_tables(made.rows)
    assert sum(row.kind == "controls" for row in shown) == 7
    assert not any(row.is_decoded_control for row in shown)
    layers = {row.decoded_layer for row in made.rows if row.kind == "stimulus"}
    assert layers == set(map(float, range(12)))
    assert all(math.isnan(row.decoded_layer) for row in made.rows if row.kind == "family")


def test_models_under_meta_prompts_of_their_own_are_not_ranked_against_each_other() -> None:
    own = [decoded_scores(decoded_arms(model=m, tokens=(m, m)), model=m) for m in ("a", "b")]
    apart = decoded_contents(*own[0], *own[1])
    assert {row.n_models for row in apart.leaderboard} == {1}
    arms = decoded_arms(model="a")
    transfer = decoded_contents(*decoded_scores(arms, model="a"), *decoded_scores(arms, model="b"))
    assert {row.n_models for row in transfer.leaderboard} == {2}


def test_decoded_families_are_claims_like_others() -> None:
    made = decoded_contents(*decoded_scores(decoded_arms()))
    assert [claim.family for claim in made.claims] == ["decoded-prompt", "decoded-attack"]
    assert [claim.n_stimuli for claim in made.claims] == [6, 6]


def test_layers_are_no_sample_of_sentences(tmp_path: Path) -> None:
    made = decoded_contents(*decoded_scores(decoded_arms()))
    assert {claim.like_verdict for claim in made.claims} == {NO_SAMPLE}
    assert all(math.isnan(c.like_low_pp) and math.isnan(c.like_p_holm) for c in made.claims)
    markup, numbers = written(made, tmp_path)
    assert "Layers are not a sample of sentences: see the trend" in markup
    assert "Stimuli like these" not in markup
    (told,) = (part for part in numbers["sections"] if part["id"] == "verdicts")
    assert {v["like_low_pp"] for v in verdicts(told)} == {None}
    place = board_table.COLUMNS.index("stimuli like these pp")
    assert {board_table.board_cells(row)[place] for row in made.leaderboard} == {"-"}


def test_every_interval_says_what_it_is_over() -> None:
    scores = decoded_scores(decoded_arms(sources=("prompt",)))
    made = decoded_contents(*scores)
    page, found = told_of(made)
    (told,) = verdicts(found)
    assert "(interval over questions: these meta prompts on other questions;" in told["sentence"]
    value, low, high = told["random_together_pp"]
    assert low < value < high
    assert f"{gain(value, low, high)} pp (interval over questions; signs" in told["beyond"]
    assert value == pytest.approx(np.mean([g.mean_pp for g in made.decoded[0].against_random]))
    # Images are saved one by one, so that each tells what was asked.
    for figure in (*figures(found, "-map"), *figures(found, "-curve")):
        assert "asked of org/m (bbh, zero-shot, placement suffix)" in figure["caption"]
    assert "Whether later layers score better is tested" in page.text


def test_what_was_only_read_is_not_called_tested(tmp_path: Path) -> None:
    page, _ = told_of(beside(tmp_path / "run", decode_file()))
    assert "score better is tested" not in page.text and "nothing is tested" in page.text


@pytest.mark.parametrize(
    ("tokens", "text", "told"),
    [
        ("re|3|x| do| wa|nd", "re3x do wand", "re·3·x do wa·nd"),
        # Words in another order have a space between them that no token begins with.
        (" the|joy|ful", "the joyful", "the joy·ful"),
        # Pieces of a character are not found in the text.
        (" �|�| to|day", "é today", "�·� to·day"),
        ("\n|ful", "ful", "\\n ful"),
    ],
)
def test_what_is_written_as_one_word_is_told_as_one(tokens: str, text: str, told: str) -> None:
    shown = tuple(map(Token, tokens.split("|")))
    figure = strip_figure([Words("prompt", "meta", 0, shown, math.nan, text, "a")], "a", "")
    assert figure is not None and figure.alt.endswith(f"layer 0: {told}.")
    assert ("written as one word" in figure.svg.inline) == ("·" in told)


def test_controls_are_no_neutral_placebos() -> None:
    (group,) = groups_of(decoded_scores(decoded_arms()))
    assert [group.arms[i].id for i in group.neutral] == ["neutral-5"]


def decode_file(**changed: object) -> Numbers:
    """A file as `emo decode --run` writes it."""
    token = {"id": 7, "logit": 3.5, "probability": 0.25, "printable": True, "special": False}

    def entry(source: str, kind: str, layer: int, words: str, **other: object) -> Numbers:
        tokens = [
            {**token, "token": word, "in_text": i != 1, "survives": i != 2}
            for i, word in enumerate(words.split("|"))
        ]
        return {
            "id": f"{kind}-{source}-{layer}",
            "source": source,
            "kind": kind,
            "control_of": None,
            "vector": "contrast",
            "layer": layer,
            "draw": 0,
            "position": None,
            "n_averaged": 11,
            "overlap": 0.5,
            "text": "".join(words.split("|")),
            "tokens": tokens,
            **other,
        }

    made: Numbers = {
        "schema_version": 1,
        "model": "org/m",
        "model_id": None,
        "site": "resid_post",
        "pooling": "content",
        "decoder": "logit-lens",
        "vector": "contrast",
        "layers": [0, 1],
        "n_layers": 2,
        "k": 10,
        "context": "8 questions of the run",
        "n_questions": 8,
        "seed": 0,
        "forced": None,
        "families": {"prompt": 11},
        "entries": [entry("prompt", "meta", layer, " joy|\x07|ful| <i>x</i>") for layer in (0, 1)]
        + [entry("placebo", "neutral", layer, " joy|\x07|wood| y") for layer in (0, 1)],
    }
    return {**made, **changed}


def beside(run: Path, made: object) -> ReportContents:
    (run / "posthoc").mkdir(parents=True)
    (run / "posthoc" / "decode.json").write_text(json.dumps(made), "utf-8")
    return synthetic(models=1, subtasks=2, stimuli=2, flips=0, run_folders=(run,))


def test_what_was_read_over_a_run_is_shown_beside_it(tmp_path: Path) -> None:
    page, found = told_of(beside(tmp_path / "run", decode_file()))
    assert "Read in org/m over these runs: 11 of prompt, context: 8 questions" in page.text
    (strip,) = figures(found, "decoded-file-0")
    assert len(strip["table"]["rows"]) == 4
    assert "ful*" in page.text and "[\\x07]" in page.text and "†" not in page.text
    assert "<i>x</i>" in page.text and not page.all("i")
    assert not any(own.get("class") == "prose warning" for own in page.all("div"))


def test_a_forced_reading_is_stamped(tmp_path: Path) -> None:
    made = beside(tmp_path / "run", decode_file(forced="another tokenizer <x>"))
    page, _ = told_of(made)
    assert "another model than the one that was asked: another tokenizer <x>" in page.text
    assert any(own.get("class") == "prose warning" for own in page.all("div"))


def test_tokens_by_position_are_one_line(tmp_path: Path) -> None:
    made = decode_file(pooling="positions")
    base = made["entries"][0]
    made["entries"] = [
        {**base, "position": place, "tokens": [{**base["tokens"][0], "token": word}]}
        for place, word in ((1, " second"), (0, " first"))
    ]
    _, found = told_of(beside(tmp_path / "run", made))
    (strip,) = figures(found, "decoded-file-0")
    ((*_,),) = [strip["table"]["rows"][0]]
    assert "first second" in strip["alt"] and len(strip["table"]["rows"]) == 1


@pytest.mark.parametrize("broken", [{"schema_version": 1}, [], decode_file(extra=1)])
def test_a_broken_file_is_named(tmp_path: Path, broken: object) -> None:
    with pytest.raises(UserError, match=r"decode\.json"):
        sections(beside(tmp_path / "run", broken))


def test_a_word_that_placebos_have_too_is_set_back() -> None:
    arms = [
        decoded_arm("prompt", "meta", 0, tokens=(" joy", " the")),
        decoded_arm("prompt", "neutral", 0, tokens=(" the", " wood")),
    ]
    found = section(decoded_contents(*decoded_scores(arms)))
    assert found is not None
    drawing = next(b for b in found.blocks if isinstance(b, Figure)).svg.inline
    colour = {
        word: re.search(rf'<text[^>]*style="([^"]*)"[^>]*>{word}<', drawing)
        for word in ("joy", "the")
    }
    inks = {
        word: match and re.search(r"fill:(?:var\()?([^;)]*)", match[1])
        for word, match in colour.items()
    }
    assert inks["joy"] and inks["the"] and inks["joy"][1] != inks["the"][1]


@pytest.mark.parametrize(
    ("asked", "decoded", "is_transfer"),
    [
        ("commit a", "commit b", True),
        ("commit a", "commit a", False),
        # Hashes of another kind tell nothing; names do.
        ("files a", "content b", False),
        ("commit a", None, False),
    ],
)
def test_what_stands_behind_a_name_tells_transfer(
    asked: str, decoded: str | None, is_transfer: bool
) -> None:
    arms = decoded_arms(kinds=(), model_id=decoded)
    (scores,) = decoded_scores(arms, subtasks=("navigate",))
    facts = replace(scores.facts, asked=AskedModel(identities={"pretrained": asked}))
    made = decoded_contents(replace(scores, facts=facts))
    assert {depth.is_transfer for depth in made.decoded} == {is_transfer}


def test_an_embedded_model_is_the_same_under_both_of_its_names() -> None:
    arms = decoded_arms(kinds=(), model="emo-demo")
    (scores,) = decoded_scores(arms, subtasks=("navigate",), model="emo-demo-lm")
    assert not any(depth.is_transfer for depth in decoded_contents(scores).decoded)
