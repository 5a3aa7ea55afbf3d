"""What is held out, and that nothing of it is seen in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emo_harness.errors import UserError
from emo_harness.probe.strict.splits import (
    E1,
    E2,
    E3,
    E4,
    TEMPLATE_RULES,
    TRAIN,
    WORD_RULES,
    never_held_out,
    parse_group,
    split_rows,
    template_groups,
    word_groups,
)
from emo_harness.probe.targets import Targets, dimensions_of, read_targets
from tests.probe.made_store import made_prompts, made_store


def targets_of(folder: Path, prompts=None, dimension: str = "valence", **made) -> Targets:
    prompts = made_prompts(**made) if prompts is None else prompts
    values = np.zeros((len(prompts), 1, 1, 2), np.float32)
    return read_targets(made_store(folder, prompts, values), dimension)


@pytest.mark.parametrize("group", [(w, t) for w in WORD_RULES for t in TEMPLATE_RULES])
def test_no_group_is_both_held_out_and_trained_on(tmp_path: Path, group: tuple[str, str]) -> None:
    targets = targets_of(tmp_path, n_words=60, n_templates=40)
    words, templates = word_groups(targets, group[0]), template_groups(targets, group[1])
    for seed in range(5):
        part = split_rows(targets, seed, group).part
        train = part == TRAIN
        for number, groups in ((E1, words[targets.word]), (E2, templates[targets.template])):
            unseen = (part == number) | (part == E4)
            assert not set(groups[train]) & set(groups[unseen])


def test_parts_mean_what_they_say(tmp_path: Path) -> None:
    targets = targets_of(tmp_path, n_words=60, n_templates=40)
    split = split_rows(targets, 3)
    train = split.train
    words, templates = set(targets.word[train]), set(targets.template[train])
    cells = set(targets.cell[train])
    seen = {
        number: (
            set(targets.word[split.part == number]) <= words,
            set(targets.template[split.part == number]) <= templates,
        )
        for number in (E1, E2, E3, E4)
    }
    assert seen == {
        E1: (False, True),
        E2: (True, False),
        E3: (True, True),
        E4: (False, False),
    }
    assert not set(targets.cell[split.part == E3]) & cells


def test_held_out_shares_are_near_what_is_asked(tmp_path: Path) -> None:
    targets = targets_of(tmp_path, n_words=100, n_templates=80, n_shapes=40)
    splits = [split_rows(targets, seed) for seed in range(10)]
    assert np.mean([(~s.seen_words).mean() for s in splits]) == pytest.approx(0.15, abs=0.03)
    assert np.mean([(~s.seen_templates).mean() for s in splits]) == pytest.approx(0.15, abs=0.03)
    shares = [(s.part == E3).sum() / ((s.part == E3) | s.train).sum() for s in splits]
    assert np.mean(shares) == pytest.approx(0.10, abs=0.02)


def test_a_word_and_a_template_keep_their_balance_of_targets_in_training(tmp_path: Path) -> None:
    targets = targets_of(tmp_path, n_words=60, n_templates=40, n_shapes=20)
    split = split_rows(targets, 0, ("adjective", "template"))
    train = split.train
    for code in (targets.word, targets.template):
        # With as many words of each pole and templates of each kind, sums of targets are 0.
        assert not np.bincount(code[train], targets.targets[train]).any()


def test_words_of_one_spelling_are_one_word(tmp_path: Path) -> None:
    prompts = made_prompts(40, 24)
    twin = prompts[prompts["word"] == "word0"]
    targets = targets_of(tmp_path, pd.concat([prompts, twin], ignore_index=True))
    assert len(targets) == len(prompts) + len(twin)
    assert len(targets.words) == 40
    part = split_rows(targets, 0, ("adjective", "template")).part
    own = targets.words.index("word0")
    for template in range(24):
        rows = (targets.word == own) & (targets.template == template)
        assert len(set(part[rows])) == 1


def test_splits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    prompts = made_prompts(60, 40)
    one = targets_of(tmp_path / "a", prompts)
    # The order in which rows were captured does not matter.
    values = np.zeros((len(prompts), 1, 1, 2), np.float32)
    other = read_targets(made_store(tmp_path / "b", prompts, values, seed=5), "valence")
    assert (split_rows(one, 1).part == split_rows(other, 1).part).all()
    assert (split_rows(one, 1).part != split_rows(one, 2).part).any()


def test_targets_are_pole_xor_negation_and_subsets_are_slices(tmp_path: Path) -> None:
    targets = targets_of(tmp_path, n_words=40, n_templates=24, n_neutral=4)
    poles = targets.poles[targets.word]
    assert (targets.targets == np.where(targets.negated, -poles, poles)).all()
    assert targets.negated[targets.subset("negated")].all()
    assert not targets.negated[targets.subset("not negated")].any()
    assert len(targets.neutral_rows) == 4 * 24
    assert (np.diff(targets.template) >= 0).all()


def test_a_group_too_large_to_be_held_out_is_told(tmp_path: Path) -> None:
    prompts = made_prompts(40, 40, n_shapes=40)
    prompts.loc[prompts["template"] < 20, "shape"] = prompts["negation"].map(
        {True: "large, negated", False: "large"}
    )
    targets = targets_of(tmp_path, prompts)
    told = never_held_out(targets, ("lemma", "shape"))
    assert told == ["shape 'large' (10 templates)", "shape 'large, negated' (10 templates)"]


@pytest.mark.parametrize("text", ["", "lemma", "shape", "shape,lemma", "lemma, shape"])
def test_rules_may_be_left_out_and_stand_in_any_order(text: str) -> None:
    assert parse_group(text) == ("lemma", "shape")


@pytest.mark.parametrize("text", ["shpe", "lemma,adjective", "template,shape"])
def test_wrong_rules_are_told(text: str) -> None:
    with pytest.raises(UserError, match="--group"):
        parse_group(text)


def test_too_few_words_are_told(tmp_path: Path) -> None:
    targets = targets_of(tmp_path, n_words=4, n_templates=8, n_shapes=2)
    with pytest.raises(UserError, match="splitting"):
        split_rows(targets, 0)


def test_bad_corpora_are_told(tmp_path: Path) -> None:
    prompts = made_prompts(10, 6)
    one_pole = prompts[prompts["valence"] == 1]
    with pytest.raises(UserError, match="no word at the low pole"):
        targets_of(tmp_path / "a", one_pole)
    with pytest.raises(UserError, match="1 template"):
        targets_of(tmp_path / "b", prompts[prompts["template"] == 0])
    with pytest.raises(UserError, match="several rows per prompt"):
        store = made_store(tmp_path / "c", prompts, np.zeros((60, 1, 1, 2), np.float32))
        store.index["prompt"] = 0
        read_targets(store, "valence")
    clash = prompts.copy()
    clash.loc[0, "valence"] = -clash.loc[0, "valence"]
    with pytest.raises(UserError, match="both poles for word0"):
        targets_of(tmp_path / "d", clash)
    with pytest.raises(UserError, match=r"arousel.*nearest: 'arousal'"):
        both = made_prompts(10, 6, dimensions=("valence", "arousal"))
        dimensions_of(
            made_store(tmp_path / "e", both, np.zeros((60, 1, 1, 2), np.float32)), ["arousel"]
        )
    with pytest.raises(UserError, match="no column word"):
        store = made_store(tmp_path / "f", prompts, np.zeros((60, 1, 1, 2), np.float32))
        store.index = store.index.drop(columns="word")
        read_targets(store, "valence")
