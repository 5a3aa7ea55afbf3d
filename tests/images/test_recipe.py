"""Recipes: strictly read, and turned into images with twins and ids."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from emo_harness.errors import UserError
from emo_harness.images.drawing import BACKGROUNDS
from emo_harness.images.emoji_plan import load_emoji_plan
from emo_harness.images.recipe import Recipe, load_recipe

EMOTIONS = {"happiness", "sadness", "fear", "disgust", "anger", "surprise"}
SHIPPED = ("attack", "arousal", "prompt", "demo")
FEAR: dict[str, Any] = {
    "concept": "fear",
    "emotion": "fear",
    "prompts": [
        {"prompt": "a scared man", "twin": "a man"},
        {"prompt": "a dark wood", "twin": "a wood", "caption": "trees at night"},
    ],
}
RECIPE: dict[str, Any] = {
    "name": "own",
    "family": "attack",
    "negative_prompt": "text",
    "seeds": [5, 6, 7],
    "concepts": [FEAR],
}


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return path


def test_every_prompt_meets_every_seed_and_its_twin_has_the_same(tmp_path: Path) -> None:
    planned = load_recipe(written(tmp_path)).images()
    images = [one for one in planned if one.twin_of is None]
    assert [one.id for one in images] == [f"fear-{i}" for i in range(1, 7)]
    assert Counter((p.prompt, p.seed) for p in images) == Counter(
        (text, seed) for text in ("a scared man", "a dark wood") for seed in (5, 6, 7)
    )
    # The first images of a concept show different things.
    assert [p.prompt for p in images[:2]] == ["a scared man", "a dark wood"]
    twins = {one.twin_of: one for one in planned if one.twin_of is not None}
    for one in images:
        twin = twins[one.id]
        assert twin.id == f"{one.id}-twin"
        assert (twin.seed, twin.negative_prompt) == (one.seed, "text")
        assert twin.prompt == {"a scared man": "a man", "a dark wood": "a wood"}[one.prompt]
    assert images[1].caption == "trees at night"
    assert twins["fear-2"].caption == "a wood"


def test_variants_of_a_concept_share_its_numbers(tmp_path: Path) -> None:
    low, high = ({**FEAR, "arousal": arousal} for arousal in ("low", "high"))
    planned = load_recipe(written(tmp_path, seeds=[1], concepts=[low, high])).images()
    assert [(p.id, p.arousal) for p in planned if p.twin_of is None] == [
        ("fear-1", "low"),
        ("fear-2", "low"),
        ("fear-3", "high"),
        ("fear-4", "high"),
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sedes": [1]}, "nearest: 'seeds'"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "the seed 1 twice"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": [True]}, "seeds"),
        ({"seeds": ["1"]}, "seeds"),
        ({"family": "placebo"}, "another family"),
        ({"family": "Attack"}, "family"),
        ({"size": 500}, "multiple of 8"),
        ({"size": 100_000}, "size"),
        ({"concepts": [FEAR, FEAR]}, "'fear' twice"),
        ({"concepts": []}, "concepts"),
        ({"concepts": [{**FEAR, "prompts": []}]}, "prompts"),
        ({"concepts": [{**FEAR, "emotion": "fright"}]}, "happiness, sadness"),
        ({"concepts": [FEAR, {**FEAR, "emotion": "scared"}]}, r"concepts\[1\]\.emotion = 'scared'"),
        ({"concepts": [{**FEAR, "level": "money"}]}, "physiological"),
        ({"concepts": [{**FEAR, "arousal": "medium"}]}, "low, high"),
        ({"concepts": [{**FEAR, "concept": "Big Fear"}]}, "lower-case letters a to z"),
        ({"concepts": [{**FEAR, "concept": "f" * 60}]}, "48 characters"),
        ({"concepts": [{**FEAR, "prompts": [{"prompt": "a man"}]}]}, r"prompts\[0\]\.twin"),
        ({"concepts": [{**FEAR, "prompts": [{"prompt": "x", "twin": "x"}]}]}, "differs"),
        ({"concepts": [{**FEAR, "prompts": [{"prompt": " ", "twin": "x"}]}]}, "not an empty"),
        ({"concepts": [{**FEAR, "prompts": [{"prompt": "a\nb", "twin": "x"}]}]}, "one line"),
        ({"concepts": [{**FEAR, "prompts": [{"prompt": "a" * 3000, "twin": "x"}]}]}, "2000"),
        (
            {"concepts": [{**FEAR, "prompts": [{"prompt": "y", "twin": "x"}] * 2}]},
            "fear: the prompt 'y' twice",
        ),
        ({"seeds": list(range(60_000))}, "at most 100,000 images"),
        ({"name": "../etc"}, "name"),
    ],
)
def test_mistake_in_a_recipe_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as error:
        load_recipe(written(tmp_path, **changes))
    assert "own.yaml" in str(error.value)
    # Neither the whole file nor what only programmers read.
    assert "'name'" not in error.value.found and "[a-z" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mapping"),
        ("- a\n- b\n", "mapping"),
        ("name: [", "broken YAML"),
        ("name: !!python/object/apply:os.system [ls]", "broken YAML"),
        ("a: " + "[" * 5_000, "broken YAML"),
        ("\x00", "broken YAML"),
        ("name: 2026-99-99", "broken YAML"),
    ],
)
def test_file_that_is_no_recipe_is_told(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=told):
        load_recipe(path)


def test_missing_recipe_and_a_plan_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nearest: 'attack'"):
        load_recipe("atack")
    with pytest.raises(UserError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="emo images draw"):
        load_recipe("emoji")


def test_shipped_recipe_is_found_by_its_path_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("templates/images/attack.yaml") == load_recipe("attack")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipe_names_itself_and_fits_what_models_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    for one in recipe.images():
        # CLIP's text encoder reads 75 tokens, about three for two words.
        assert len(one.prompt.split()) <= 45, one.id
        assert len((one.negative_prompt or "").split()) <= 45


def test_shipped_attack_has_six_emotions_with_several_prompts_and_seeds() -> None:
    for name, variants in (("attack", {"high"}), ("arousal", {"low", "high"})):
        recipe = load_recipe(name)
        assert {(c.emotion, c.arousal) for c in recipe.concepts} == {
            (emotion, arousal) for emotion in EMOTIONS for arousal in variants
        }
        assert recipe.family == "attack"
        assert len(recipe.seeds) >= 3
        assert min(len(c.prompts) for c in recipe.concepts) >= 3


def test_shipped_prompt_has_five_levels_and_the_papers_concepts() -> None:
    recipe: Recipe = load_recipe("prompt")
    levels = {c.level for c in recipe.concepts}
    assert levels == {"physiological", "safety", "belonging", "esteem", "self-actualisation"}
    of_paper = {"money", "fortress", "honour", "attractive-woman", "attractive-man"}
    assert of_paper <= {c.concept for c in recipe.concepts}
    assert len(recipe.seeds) >= 3
    assert min(len(c.prompts) for c in recipe.concepts) >= 3


def test_no_shipped_twin_speaks_of_an_emotion() -> None:
    words = (*EMOTIONS, "happy", "sad", "afraid", "angry", "cry", "laugh", "smil", "scream", "rage")
    for name in SHIPPED:
        for one in load_recipe(name).images():
            if one.twin_of is not None:
                assert not [word for word in words if word in one.prompt.split()], one.prompt


def test_demo_recipe_speaks_in_the_words_of_the_emoji_plan() -> None:
    plan = load_emoji_plan()
    names = {*plan.glyphs, *(plan.plurals.get(name, f"{name}s") for name in plan.glyphs)}
    for one in load_recipe("demo").images():
        assert any(name in one.prompt for name in names), one.prompt
        assert any(one.prompt.endswith(b.phrase) for b in BACKGROUNDS.values()), one.prompt
