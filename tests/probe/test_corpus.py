from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.errors import UserError
from emo_harness.probe.corpus import Corpus, load_corpus
from emo_harness.probe.corpus.counts import count
from emo_harness.probe.corpus.shapes import shape_of
from emo_harness.probe.corpus.siblings import lemmas
from emo_harness.probe.corpus.templates import read_templates, slot_mistake
from tests.conftest import ROOT, SHARED

PUBLISHED = SHARED / "data" / "emo_llm"
WORDS = {"bad": ["sad", "unhappy", "let down"], "good": ["happy", "glad"]}
TEMPLATES = [
    {"prompt_template": "Bob felt {}, so Bob", "note": "n", "negation": False},
    {"prompt_template": "Bob didn’t feel {}, so Bob", "note": "n", "negation": True},
]


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def corpus_of(folder: Path, words: object = WORDS, templates: object = TEMPLATES) -> Corpus:
    return load_corpus(
        [written(folder / "adjectives.json", words)], written(folder / "templates.json", templates)
    )


def published(*names: str, templates: str = "prompt_templates_0330b2024.json") -> Corpus:
    if not PUBLISHED.is_dir():
        pytest.skip("published Emo_LLM files not at hand (../shared/data/emo_llm)")
    return load_corpus([PUBLISHED / name for name in names], PUBLISHED / templates)


@pytest.mark.parametrize(
    ("name", "dimension", "rows"),
    [
        ("happy_sad_adjectives.e12b48d_190.json", "valence", 48_260),
        ("low_high_arousal_adjectives.e12b48d_101.json", "arousal", 25_654),
        ("happy_sad_adjectives.json", "valence", 45_720),
        ("low_high_arousal_adjectives.json", "arousal", 27_432),
    ],
)
def test_published_lists_give_the_seeds_rows_in_the_seeds_order(
    name: str, dimension: str, rows: int
) -> None:
    corpus = published(name)
    prompts = corpus.prompts()
    assert len(prompts) == rows == corpus.n_prompts
    classes = json.loads((PUBLISHED / name).read_text("utf-8"))
    templates = json.loads((PUBLISHED / "prompt_templates_0330b2024.json").read_text("utf-8"))
    first = next(iter(classes))
    expected = [
        (t["prompt_template"].format(adjective), (key == first) != t["negation"])
        for t in templates
        for key, adjectives in classes.items()
        for adjective in adjectives
    ]
    facts = corpus.facts["dimensions"][dimension]
    assert facts["first"] == first == facts["low"]
    label = (prompts[dimension] == -1).to_numpy(bool) != prompts["negation"].to_numpy(bool)
    assert list(zip(prompts["text"], label, strict=True)) == expected
    # Each template's words are either pole; negated and plain are balanced: so is the label.
    assert label.mean() == 0.5
    assert prompts["scenario"].nunique() == len(templates) / 2


@pytest.mark.parametrize("words", ["happy_sad_adjectives.json", "heavy_light_adjectives.json"])
@pytest.mark.parametrize("date", ["03292024", "03302024", "0330b2024"])
def test_every_published_file_loads_as_it_is(words: str, date: str) -> None:
    prompts = published(words, templates=f"prompt_templates_{date}.json").prompts()
    source = (PUBLISHED / f"prompt_templates_{date}.json").read_text("utf-8")
    curly = any("’" in t["prompt_template"] for t in json.loads(source))
    assert prompts["text"].str.contains("’").any() == curly


def test_shapes_of_the_published_templates_do_not_depend_on_first_names() -> None:
    # 198 distinct strings when first names are masked, 121 when activities and nouns are too;
    # our rule masks content verbs, determiners and pronouns as well.
    corpus = published("happy_sad_adjectives.json")
    shapes = {t.shape for t in corpus.templates.templates}
    assert 80 <= len(shapes) <= 121


def test_several_lists_stand_one_after_the_other_with_their_own_poles() -> None:
    corpus = published(
        "happy_sad_adjectives.e12b48d_190.json", "low_high_arousal_adjectives.e12b48d_101.json"
    )
    prompts = corpus.prompts()
    assert prompts["valence"].notna().sum() == 48_260
    assert prompts["arousal"].notna().sum() == 25_654
    assert not (prompts["valence"].notna() & prompts["arousal"].notna()).any()
    assert (np.diff(prompts["list"].astype("category").cat.codes) != 0).sum() == 1


def test_a_span_is_the_adjective_and_types_are_those_of_the_contract(tmp_path: Path) -> None:
    for corpus in (load_corpus(), corpus_of(tmp_path)):
        prompts = corpus.prompts()
        for row in prompts.sample(200, random_state=0, replace=True).itertuples():
            assert row.text[row.span_first : row.span_last] == row.word
            assert row.text == row.template_text.replace("{}", row.word)
        kinds = prompts.dtypes.astype(str)
        assert kinds[["span_first", "span_last"]].eq("Int64").all()
        assert kinds[list(corpus.dimensions)].eq("Int8").all()
        assert kinds[["template", "scenario"]].eq("int64").all() and kinds["negation"] == "bool"
        assert json.loads(json.dumps(corpus.facts)) == corpus.facts


def test_curly_apostrophes_stay_and_neighbours_are_a_scenario(tmp_path: Path) -> None:
    prompts = corpus_of(tmp_path).prompts()
    assert prompts["text"].str.contains("didn’t feel").sum() == 5
    assert prompts["scenario"].unique().tolist() == [0]
    alone = [*TEMPLATES, TEMPLATES[0] | {"prompt_template": "Ann is {} and"}, TEMPLATES[0]]
    assert corpus_of(tmp_path, templates=alone).prompts()["scenario"].nunique() == 4


@pytest.mark.parametrize(
    ("first", "second", "dimension", "high"),
    [
        ("valence_bad", "valence_good", "valence", "valence_good"),
        ("valence_good", "valence_bad", "valence", "valence_good"),
        ("happy_adjectives", "sad_adjectives", "valence", "happy_adjectives"),
        ("low_arousal_adjectives", "high_arousal_adjectives", "arousal", "high_arousal_adjectives"),
        ("arousal_high", "arousal_low", "arousal", "arousal_high"),
        ("negative", "positive", "valence", "positive"),
        ("heavy", "light", "heavy_light", "light"),
        ("1", "2", "classes", "2"),
        ("low_text", "high_text", "text_", "high_text"),
    ],
)
def test_names_of_classes_tell_dimension_and_sign(
    tmp_path: Path, first: str, second: str, dimension: str, high: str
) -> None:
    corpus = corpus_of(tmp_path, {first: ["sad"], second: ["glad"]})
    facts = corpus.facts["dimensions"][dimension]
    assert facts["high"] == high and facts["first"] == first
    prompts = corpus.prompts()
    assert (prompts.loc[prompts["word"] == "sad", dimension] == (1 if high == first else -1)).all()


def test_two_files_of_one_dimension_must_name_its_classes_alike(tmp_path: Path) -> None:
    one = written(tmp_path / "one.json", {"bad": ["sad"], "good": ["glad"]})
    two = written(tmp_path / "two.json", {"good": ["glad"], "bad": ["sad"]})
    with pytest.raises(UserError, match="valence with classes"):
        load_corpus([one, two])
    with pytest.raises(UserError, match="twice"):
        load_corpus([one, one])
    with pytest.raises(UserError, match="no file"):
        load_corpus([])


def test_lists_of_one_file_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [written(tmp_path / part / "same.json", WORDS) for part in (".", "b")]
    assert [one.name for one in load_corpus(paths).lists] == ["same", "same (2)"]


def test_the_hash_follows_the_prompts_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    base = corpus_of(tmp_path).facts["sha256"]
    assert corpus_of(tmp_path / "elsewhere").facts["sha256"] == base
    renamed = [template | {"note": "another"} for template in TEMPLATES]
    assert corpus_of(tmp_path, templates=renamed).facts["sha256"] == base
    flipped = [template | {"negation": not template["negation"]} for template in TEMPLATES]
    others = [
        corpus_of(tmp_path, WORDS | {"good": ["happy"]}),
        corpus_of(tmp_path, dict(reversed(WORDS.items()))),
        corpus_of(tmp_path, templates=flipped),
        corpus_of(tmp_path, templates=TEMPLATES[:1]),
        load_corpus(),
    ]
    hashes = {corpus.facts["sha256"] for corpus in others}
    assert len(hashes) == len(others) and base not in hashes


BAD_WORDS: list[tuple[Any, str]] = [
    ({"bad": ["sad"]}, "1 class (bad)"),
    ({"a": ["sad"], "b": ["x"], "c": ["y"]}, "3 classes"),
    ({}, "0 classes"),
    ({"bad": [], "good": ["glad"]}, "class 'bad'"),
    ({"bad": "sad", "good": ["glad"]}, "class 'bad'"),
    ({"bad": ["sad", 3], "good": ["glad"]}, "class 'bad', entry 2"),
    ({"bad": ["sad"], "good": [None]}, "class 'good', entry 1"),
    ({"bad": ["sad"], "good": ["glad", " "]}, "class 'good', entry 2"),
    ({"bad": ["sad "], "good": ["glad"]}, "class 'bad', entry 1"),
    ({"bad": ["sa\nd"], "good": ["glad"]}, "class 'bad', entry 1"),
    ('{"bad": ["\\ud800"], "good": ["glad"]}', "surrogate"),
    (["sad"], "a list at the top"),
    ('{"bad": ["sad"], "bad": ["glad"]}', "the key 'bad' twice"),
    ('{"bad": ["sad"], ', "broken JSON in line 1"),
    ("", "broken JSON"),
    ("[" * 100_000, "JSON that cannot be parsed"),
]
BAD_TEMPLATES: list[tuple[Any, str]] = [
    ([], "an empty list"),
    ({"prompt_template": "x {}"}, "a dict without `pairs`"),
    ("3", "a int"),
    ([TEMPLATES[0], "Bob is {}"], "entry 2"),
    *(
        ([TEMPLATES[0], TEMPLATES[1] | {"prompt_template": text}], "entry 2")
        for text in ("Bob", "{} or {}", "{0}", "Bob is {name}", "{} }", "{{}}", "{}{", " ", "")
    ),
    ([TEMPLATES[0] | {"negation": "false"}], "negation = 'false'"),
    ([TEMPLATES[0] | {"negation": 0}], "negation = 0"),
    ([TEMPLATES[0] | {"prompt_template": 3}], "prompt_template = 3"),
    ([{"note": "", "negation": False}], "no 'prompt_template'"),
    ([{"note": "", "prompt_template": "a {}"}], "no 'negation'"),
    ([TEMPLATES[0] | {"negated": True}], "an unknown key 'negated'"),
    ("[{", "broken JSON"),
]


@pytest.mark.parametrize(("content", "told"), BAD_WORDS)
def test_broken_adjectives_are_refused_by_file_and_entry(
    tmp_path: Path, content: object, told: str
) -> None:
    with pytest.raises(UserError) as error:
        corpus_of(tmp_path, words=content)
    assert told in str(error.value) and "adjectives.json" in str(error.value)


@pytest.mark.parametrize(("content", "told"), BAD_TEMPLATES)
def test_broken_templates_are_refused_by_file_and_entry(
    tmp_path: Path, content: object, told: str
) -> None:
    with pytest.raises(UserError) as error:
        corpus_of(tmp_path, templates=content)
    assert told in str(error.value) and "templates.json" in str(error.value)


OWN_WORDS = {
    "sets": [
        {"poles": {"valence": "high"}, "words": ["glad", "happy"]},
        {"poles": {"valence": "low"}, "words": ["sad", "unhappy"]},
    ],
    "siblings": [["happy", "unhappy"]],
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sets": OWN_WORDS["sets"][:1], "siblings": []}, "no word of low valence"),
        ({"sets": []}, "no set of words"),
        ({"sets": [{"poles": {"valence": "high"}, "words": []}]}, "set 1"),
        ({"sets": [{"poles": {}, "words": ["x"]}]}, "set 1"),
        ({"sets": [{"poles": {"valence": "up"}, "words": ["x"]}]}, "high, low, neutral"),
        ({"sets": [*OWN_WORDS["sets"], OWN_WORDS["sets"][0]]}, "set 3, entry 1"),
        ({"sets": [{"poles": {"valence": "high"}, "words": [True]}]}, "set 1, entry 1"),
        ({"siblings": [["happy", "merry"]]}, "'merry', which is no word"),
        ({"siblings": [["happy"], ["happy"]]}, "'happy', which is in two groups"),
        ({"moods": []}, "an unknown key 'moods'"),
        (
            {
                "sets": [
                    {"poles": {"text": "high"}, "words": ["a"]},
                    {"poles": {"text": "low"}, "words": ["b"]},
                ],
                "siblings": [],
            },
            "a dimension called 'text'",
        ),
    ],
)
def test_broken_word_sets_are_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = written(tmp_path / "mine.yaml", yaml.safe_dump(OWN_WORDS | change))
    with pytest.raises(UserError) as error:
        load_corpus([path])
    assert told in str(error.value) and "mine.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("pairs: []", "an empty list"),
        ("pairs: [{plain: 'A is {}'}]", "pair 1"),
        ("pairs: [{plain: 'A is {}', negated: 'A is not'}]", "pair 1, negated"),
        ("pairs: [{plain: 'A {} {}', negated: 'A is not {}'}]", "pair 1, plain"),
        ("pairs: [{plain: 'A {}', negated: 'A not {}', scene: sunny}]", "pair 1"),
        ("pairs: [3]", "pair 1"),
        ("pairs: {", "broken YAML"),
        ("pairs: []\npairs: []", "the key 'pairs' twice"),
        ("- a", "entry 1"),
    ],
)
def test_broken_pairs_are_refused(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        read_templates(written(tmp_path / "mine.yaml", content))
    assert told in str(error.value) and "mine.yaml" in str(error.value)


def test_what_is_no_readable_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"bad": ["d\xe9sol"], "good": ["glad"]}')
    for path, told in ((tmp_path, "a folder"), (tmp_path / "no.json", "no such file")):
        with pytest.raises(UserError, match=told):
            load_corpus([path])
    with pytest.raises(UserError, match="not UTF-8"):
        load_corpus([tmp_path / "latin.json"])
    marked = tmp_path / "marked.json"
    marked.write_bytes(b"\xef\xbb\xbf" + json.dumps(WORDS).encode())
    assert len(load_corpus([marked]).words) == 5


@given(st.text(alphabet="ab {}", max_size=12))
def test_a_template_is_read_if_and_only_if_it_has_one_slot(text: str) -> None:
    rest = text.replace("{}", "", 1)
    fine = "{}" in text and "{" not in rest and "}" not in rest
    assert (slot_mistake(text) is None) == (fine and bool(text.strip()))


def test_braces_in_a_word_are_no_slot(tmp_path: Path) -> None:
    prompts = corpus_of(tmp_path, {"bad": ["{0}"], "good": ["{}"]}).prompts()
    assert prompts["text"].iloc[0] == "Bob felt {0}, so Bob"
    assert prompts["text"].iloc[1] == "Bob felt {}, so Bob"


@pytest.mark.parametrize(
    ("words", "group"),
    [
        (("happy", "unhappy"), True),
        (("contented", "content", "discontented"), True),
        (("hopeful", "hopeless"), True),
        (("worried", "worrying", "unworried"), True),
        (("inspired", "uninspired", "inspiring"), True),
        (("joyful", "overjoyed"), True),
        (("understanding", "standing"), False),
        (("sad", "glad"), False),
        (("tense", "tender"), False),
    ],
)
def test_siblings_share_a_lemma_that_is_one_of_them(words: tuple[str, ...], group: bool) -> None:
    found = lemmas(words)
    assert set(found) == set(words) and set(found.values()) <= set(words)
    assert (len(set(found.values())) == 1) == group


def test_a_prefix_is_kept_where_the_rest_is_no_word_at_hand() -> None:
    assert lemmas(["unhappy", "dismal"]) == {"unhappy": "unhappy", "dismal": "dismal"}


def test_shapes_forget_who_and_what_but_not_how() -> None:
    base = shape_of("The new recipe leaves Jack feeling {} and eager to")
    assert base == shape_of("The hiking trail leaves Benjamin feeling {} and inspired to")
    assert base != shape_of("The new recipe doesn't leave Jack feeling {} and eager to")
    assert shape_of("Ann feels {} when she’s singing") == shape_of("Tom feels {} when he's dancing")
    assert shape_of("Ann felt {}, so Ann") != shape_of("Ann felt {} and Ann")


def test_the_shipped_corpus_is_as_large_and_as_crossed_as_promised() -> None:
    corpus = load_corpus()
    found = count(corpus)
    for poles in found.poles:
        assert min(poles.high, poles.low) >= 100 and poles.neutral >= 40
        assert poles.high == poles.low
    (crossed,) = found.quadrants
    assert min(crossed.high_high, crossed.high_low, crossed.low_high, crossed.low_low) >= 25
    assert abs(crossed.phi) < 0.05
    assert found.templates >= 120 and found.pairs >= 60 and found.shapes >= 60
    assert 2 * found.negated == found.templates == 2 * found.pairs
    assert found.last_word_accuracy == 0.5
    assert set(found.words_after_slot) >= set(range(10))
    assert len(set(found.scenes.values())) == 1 and len(found.scenes) == 3
    assert found.words == found.distinct_words


def test_shipped_words_are_single_and_lower_case_but_for_peoples() -> None:
    for word in load_corpus().words:
        assert re.fullmatch(r"[A-Za-z]+(-[a-z]+)?", word.text)
        assert word.text.islower() or set(word.poles.values()) == {0}


def test_shipped_pairs_end_alike_and_differ_before_the_slot() -> None:
    templates = load_corpus().templates.templates
    assert len({t.text for t in templates}) == len(templates)
    for plain, negated in zip(templates[::2], templates[1::2], strict=True):
        assert (plain.negation, negated.negation) == (False, True)
        assert plain.scenario == negated.scenario and plain.shape == negated.shape
        assert plain.after == negated.after and plain.before != negated.before
    # One shape is one wording: what the rule sees as the same is the same shape.
    shapes = Counter(t.shape for t in templates)
    assert max(shapes.values()) == 2


def test_the_document_tells_the_files_counts() -> None:
    text = (ROOT / "docs" / "probing-corpus.md").read_text("utf-8")
    cells = re.findall(r"^\| ([a-z ,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    told = {name: int(number.replace(",", "")) for name, number in cells}
    corpus = load_corpus()
    found = count(corpus)
    poles = {one.dimension: one for one in found.poles}
    (crossed,) = found.quadrants
    assert told == {
        "high valence": poles["valence"].high,
        "low valence": poles["valence"].low,
        "high arousal": poles["arousal"].high,
        "low arousal": poles["arousal"].low,
        "high valence, high arousal": crossed.high_high,
        "high valence, low arousal": crossed.high_low,
        "low valence, high arousal": crossed.low_high,
        "low valence, low arousal": crossed.low_low,
        "neutral": poles["valence"].neutral,
        "words": found.words,
        "lemmas": found.lemmas,
        "templates": found.templates,
        "pairs": found.pairs,
        "shapes": found.shapes,
        "last words": found.last_words,
        "prompts": found.prompts,
    }
