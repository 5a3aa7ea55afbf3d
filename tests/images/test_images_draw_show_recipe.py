"""`emo images draw`, `show` and `recipe`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.images import load_image_set
from emo_harness.resources import resource
from tests.images.emoji_font import emoji_font

PLAN = """
name: small
version: 1
title: A small set
size: 32
glyphs: {neutral face: U+1F610, screaming face: U+1F631}
concepts:
  - concept: fear
    family: attack
    emotion: fear
    neutral: [neutral face]
    images:
      - {glyphs: [screaming face], arrangement: row, n: 3, background: night}
"""


def emo(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["images", *arguments], catch_exceptions=True)


def mistake(*arguments: str) -> UserError:
    error = emo(*arguments).exception
    assert isinstance(error, UserError), error
    return error


@pytest.mark.parametrize("command", ["draw", "show", "recipe"])
def test_help_has_an_example(command: str) -> None:
    done = emo(command, "--help")
    assert done.exit_code == 0
    assert "Example" in done.stdout


def test_own_plan_is_drawn_and_shown(tmp_path: Path) -> None:
    emoji_font()
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    out = tmp_path / "small"
    told = json.loads(emo("draw", str(plan), "--out", str(out), "--json").stdout)
    assert (told["n_images"], told["n_twins"], told["concepts"]) == (2, 1, ["fear"])
    assert told["bytes"] == sum(path.stat().st_size for path in out.glob("fear*.png"))
    shown = emo("show", str(out), "--each")
    assert "three screaming faces in a row at night" in " ".join(shown.stdout.split())
    (row,) = [line for line in emo("show", str(out)).stdout.splitlines() if "fear" in line[:9]]
    assert "attack" in row and "32 x 32" in row
    listed = json.loads(emo("show", str(out), "--json").stdout)
    assert [one["id"] for one in listed["images"]] == ["fear-1", "fear-1-twin"]
    again = emo("draw", str(plan), "--out", str(out), "--size", "64")
    assert again.exit_code == 0
    assert load_image_set(out).entries[0].width == 64


def test_shipped_set_is_shown_by_default() -> None:
    listed = json.loads(emo("show", "--json").stdout)
    assert listed["name"] == "emoji"
    assert len(listed["images"]) == len(load_image_set("emoji").entries)


def test_mistakes_are_told(tmp_path: Path) -> None:
    assert "nearest: 'emoji'" in mistake("draw", "emojy", "--out", str(tmp_path / "a")).found
    assert "generate" in mistake("draw", "attack", "--out", str(tmp_path / "a")).fix
    no_font = mistake("draw", "--font", str(tmp_path / "no.ttf"), "--out", str(tmp_path / "a"))
    assert "fonts-noto-color-emoji" in no_font.fix
    assert "manifest" in mistake("show", str(tmp_path)).found
    (tmp_path / "file").touch()
    if _has_font():
        assert "--out" in mistake("draw", "--size", "16", "--out", str(tmp_path / "file")).fix


def test_recipes_are_listed_shown_and_copied(tmp_path: Path) -> None:
    listed = {one["name"]: one for one in json.loads(emo("recipe", "--json").stdout)}
    assert {"attack", "prompt", "arousal", "demo", "emoji"} <= set(listed)
    assert listed["emoji"]["made_by"] == "emo images draw"
    planned = json.loads(emo("recipe", "attack", "--json").stdout)
    assert len(planned) == listed["attack"]["n_images"]
    assert {one["concept"] for one in planned} >= {"fear", "anger"}
    for name in listed:
        copied = emo("recipe", name, "--yaml").stdout
        assert copied == resource(f"templates/images/{name}.yaml").read_text("utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(emo("recipe", "demo", "--yaml").stdout.replace("seeds: [1]", "seeds: [1, 2]"))
    assert len(json.loads(emo("recipe", str(own), "--json").stdout)) == 48
    assert "expressionless face in fog" in " ".join(emo("recipe", str(own)).stdout.split())
    own.write_text("name: own")
    assert "own.yaml" in mistake("recipe", str(own)).doing
    assert "attack --yaml" in mistake("recipe", "--yaml").fix


def _has_font() -> bool:
    from emo_harness.images.emoji import find_font

    try:
        return find_font().is_file()
    except UserError:
        return False
