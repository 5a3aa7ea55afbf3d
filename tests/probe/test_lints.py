from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, pearsonr

from emo_harness.probe.corpus import load_corpus
from emo_harness.probe.corpus.findings import Finding
from emo_harness.probe.corpus.lints import lint
from emo_harness.probe.corpus.template_lints import cues
from emo_harness.probe.corpus.token_lints import auc, token_counts
from emo_harness.probe.corpus.word_lints import phi
from tests.conftest import SHARED
from tests.probe.test_corpus import corpus_of, published, written

EMO = [sys.executable, "-c", "from emo_harness.cli.main import main; main()"]


def template(text: str, negation: bool) -> dict[str, Any]:
    return {"prompt_template": text, "note": "", "negation": negation}


PAIR = [template("Bob felt {}, so Bob", False), template("Bob didn't feel {}, so Bob", True)]


def found(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.level, finding.check) for finding in findings}


def template_checks(folder: Path, *templates: dict[str, Any]) -> set[tuple[str, str]]:
    return found(lint(corpus_of(folder, templates=list(templates))))


def word_checks(folder: Path, words: dict[str, list[str]]) -> set[tuple[str, str]]:
    return found(lint(corpus_of(folder, words=words, templates=PAIR)))


def test_the_shipped_corpus_has_neither_errors_nor_warnings() -> None:
    assert not [f for f in lint(load_corpus(), len) if f.level != "note"]


@pytest.mark.parametrize("date", ["03292024", "03302024", "0330b2024"])
@pytest.mark.parametrize(
    "names",
    [
        ("happy_sad_adjectives.e12b48d_190.json", "low_high_arousal_adjectives.e12b48d_101.json"),
        ("happy_sad_adjectives.json", "low_high_arousal_adjectives.json"),
        ("heavy_light_adjectives.json",),
    ],
)
def test_the_published_files_have_warnings_but_no_errors(names: tuple[str, ...], date: str) -> None:
    findings = lint(published(*names, templates=f"prompt_templates_{date}.json"))
    assert "error" not in {finding.level for finding in findings}
    twice = [finding.entries for finding in findings if finding.check == "word-twice"]
    assert twice == ([("satisfied",)] if len(names) == 2 else [])


def test_known_flaws_of_the_published_files_are_found() -> None:
    corpus = published(
        "happy_sad_adjectives.e12b48d_190.json", "low_high_arousal_adjectives.e12b48d_101.json"
    )
    by_check = {(f.check, f.where): f for f in lint(corpus)}
    checks = {check for check, _ in by_check}
    assert {"confounded", "last-word", "pair-ends", "shapes", "class-sizes"} <= checks
    (after_slot,) = [f for f in by_check.values() if f.check == "cue-after-slot"]
    assert len(after_slot.entries) == 1 and "it's not raining" in after_slot.entries[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann did not feel", ["not"]),
        ("Ann doesn't feel", ["n't"]),
        ("Ann doesn’t feel", ["n't"]),
        ("She CANNOT be", ["cannot"]),
        ("Never, said no one", ["never", "no"]),
        ("without feeling", ["without"]),
        ("Neither Tom nor Ann", ["neither", "nor"]),
        ("No matter how", []),
        ("The knot in the note of the November nobleman", []),
        ("an ant isn", []),
    ],
)
def test_words_that_deny(text: str, expected: list[str]) -> None:
    assert cues(text) == expected


def test_flags_are_held_against_words_that_deny(tmp_path: Path) -> None:
    def of(text: str, negation: bool) -> set[tuple[str, str]]:
        return template_checks(tmp_path, *PAIR, template(text, negation))

    assert not {level for level, _ in of("Ann is {} and", False)} & {"error"}
    assert ("error", "negation-without-cue") in of("Ann is {} and", True)
    assert ("error", "cue-in-plain") in of("Ann isn’t {} and", False)
    assert ("warning", "cue-in-plain") in of("Ann is {} and does not", False)
    assert ("warning", "cue-after-slot") in of("Ann is {}, which is not true, so", True)


def test_ends_of_pairs(tmp_path: Path) -> None:
    apart = template("Bob didn't feel {} because it", True)
    assert ("warning", "pair-ends") in template_checks(tmp_path, PAIR[0], apart)
    alike = template_checks(tmp_path, *PAIR)
    assert not {check for _, check in alike} & {"pair-ends", "last-word", "unpaired"}
    telling = [
        one
        for n in range(4)
        for one in (
            template(f"{'x' * n}Bob is {{}} to", False),
            template(f"{'x' * n}Bob is not {{}} is", True),
        )
    ]
    assert ("warning", "last-word") in template_checks(tmp_path, *telling)


def test_other_lints_of_templates(tmp_path: Path) -> None:
    checks = template_checks(tmp_path, *PAIR, PAIR[0], PAIR[1])
    assert ("warning", "template-twice") in checks
    checks = template_checks(tmp_path, PAIR[0], PAIR[0] | {"prompt_template": "Ann saw a {} "})
    assert {
        ("warning", "article"),
        ("warning", "white-space"),
        ("warning", "negation-balance"),
        ("note", "unpaired"),
    } <= checks
    curly = template("Ann didn’t feel {}, so Bob", True)
    assert ("note", "apostrophes") in template_checks(tmp_path, *PAIR, PAIR[0], curly)
    people = [template(f"{name} is {{}} and", False) for name in ("Ann", "Bob", "Cy", "Di")]
    assert ("warning", "shapes") in template_checks(tmp_path, *people)


def test_lints_of_words(tmp_path: Path) -> None:
    assert word_checks(tmp_path, {"bad": ["sad"], "good": ["glad"]}) == {
        ("note", "no-neutral-words")
    }
    twice = word_checks(tmp_path, {"bad": ["sad", "sad", "low"], "good": ["glad", "merry", "gay"]})
    assert ("warning", "word-twice") in twice
    both = word_checks(tmp_path, {"bad": ["sad", "glad"], "good": ["glad", "merry"]})
    assert ("error", "word-in-both-classes") in both
    siblings = word_checks(tmp_path, {"bad": ["unhappy"], "good": ["happy"]})
    assert ("note", "siblings") in siblings and len(siblings) == 2
    unequal = word_checks(tmp_path, {"bad": ["sad", "low"], "good": ["glad"]})
    assert ("warning", "class-sizes") in unequal


def test_a_word_with_opposite_poles_in_two_files_is_an_error(tmp_path: Path) -> None:
    one = written(tmp_path / "one.json", {"bad": ["sad"], "good": ["glad"]})
    two = written(tmp_path / "two.json", {"bad": ["glad"], "good": ["merry"]})
    findings = lint(load_corpus([one, two]))
    assert ("error", "word-in-both-classes") in found(findings)
    assert findings[0].entries == ("glad",)


def test_siblings_that_a_file_does_not_declare_are_told(tmp_path: Path) -> None:
    text = "sets: [{poles: {valence: high}, words: [happy]}, {poles: {valence: low}, words: [W]}]"
    for word, told in (("unhappy", True), ("sad", False)):
        path = written(tmp_path / "mine.yaml", text.replace("W", word))
        assert (("warning", "undeclared-siblings") in found(lint(load_corpus([path])))) == told


def test_dimensions_that_are_not_crossed_are_told(tmp_path: Path) -> None:
    highs, lows = ([f"{c}{n}" for n in range(20)] for c in "hl")
    valence = written(tmp_path / "v.json", {"bad": lows, "good": highs})
    alike = written(tmp_path / "a.json", {"low_arousal": lows, "high_arousal": highs})
    mixed = {"low_arousal": lows[::2] + highs[::2], "high_arousal": lows[1::2] + highs[1::2]}
    crossed = written(tmp_path / "c.json", mixed)
    assert ("warning", "confounded") in found(lint(load_corpus([valence, alike])))
    assert ("warning", "confounded") not in found(lint(load_corpus([valence, crossed])))


def test_lengths_in_tokens_that_tell_the_class_are_told(tmp_path: Path) -> None:
    words = {"heavy": ["heavy", "dense"], "light": ["lightweight", "insubstantial"]}
    corpus = corpus_of(tmp_path, words, PAIR)
    assert ("warning", "token-counts") in found(lint(corpus, len))
    (counts,) = token_counts(corpus, len)
    assert counts.auc == 1 and sum(counts.high.values()) == sum(counts.low.values()) == 2
    # A tokenizer that gives every word one token tells nothing.
    assert ("warning", "token-counts") not in found(lint(corpus, lambda text: len(text.split())))


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=20),
    st.lists(st.integers(1, 6), min_size=1, max_size=20),
)
def test_auc_is_mann_and_whitneys(high: list[int], low: list[int]) -> None:
    expected = mannwhitneyu(high, low).statistic / (len(high) * len(low))
    assert auc(high, low) == pytest.approx(expected)
    assert auc(high, low) + auc(low, high) == pytest.approx(1)


def test_phi_is_pearsons_correlation_of_poles() -> None:
    counts = {(1, 1): 7, (1, -1): 3, (-1, 1): 2, (-1, -1): 9}
    poles = np.array([key for key, n in counts.items() for _ in range(n)])
    assert phi(counts) == pytest.approx(pearsonr(poles[:, 0], poles[:, 1]).statistic)
    assert np.isnan(phi({(1, 1): 3}))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EMO, "probe", "corpus", *arguments], capture_output=True, text=True)


def test_the_command_shows_and_ends_by_what_it_found(tmp_path: Path) -> None:
    done = run("--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["facts"] == load_corpus().facts
    assert told["counts"]["prompts"] == len(load_corpus().prompts())
    good = written(tmp_path / "a.json", {"bad": ["sad"], "good": ["glad"]})
    wrong = written(tmp_path / "t.json", [PAIR[0], PAIR[0] | {"negation": True}])
    done = run("--adjectives", str(good), "--templates", str(wrong))
    assert done.returncode == 1 and "error: t: flagged as negated" in done.stdout
    one_class = written(tmp_path / "b.json", {"bad": ["sad"]})
    done = run("--adjectives", str(one_class))
    assert done.returncode == 2 and "b.json" in done.stderr and "Traceback" not in done.stderr
    done = run("--tokenizer", str(tmp_path))
    assert done.returncode == 2 and "tokenizer" in done.stderr and "Traceback" not in done.stderr


def test_the_command_counts_tokens_of_a_real_model(stories_model: Path) -> None:
    done = run("--json", "--tokenizer", str(stories_model))
    told = json.loads(done.stdout)
    assert done.returncode == 0 and len(told["tokens"]) == 2
    for one in told["tokens"]:
        assert abs(one["auc"] - 0.5) < 0.1
    assert SHARED in stories_model.parents
