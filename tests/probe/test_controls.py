"""What controls can and cannot know."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.probe.strict.controls import (
    BAG_OF_WORDS,
    EMBEDDING,
    FLAG,
    TEMPLATE_ONLY,
    TOKEN_COUNT,
    controls_of,
    fit_control,
    flagged,
    probe_controls,
)
from emo_harness.probe.strict.rounds import draw_round
from emo_harness.probe.strict.shrinkage import dots, draw_pairs, shrinkage
from emo_harness.probe.strict.tally import Key, Tally
from emo_harness.probe.strict.verdicts import verdict
from emo_harness.probe.targets import Targets, read_targets
from tests.probe.made_store import made_prompts, made_store

CHANCE = pytest.approx(0.5, abs=0.1)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Targets:
    prompts = made_prompts(60, 40, n_shapes=20)
    values = np.zeros((len(prompts), 1, 1, 1), np.float32)
    return read_targets(made_store(tmp_path_factory.mktemp("store"), prompts, values), "valence")


@pytest.fixture(scope="module")
def found(targets: Targets) -> dict[tuple[str, str, str], float]:
    """Accuracy by control, subset and part; embeddings know the pole."""
    rounds = [draw_round(targets, seed, ("lemma", "shape")) for seed in range(4)]
    embeddings = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    ids = {int(i): int(w) for i, w in zip(targets.span_id, targets.word, strict=True)}
    embeddings[list(ids), 0] = 3 * targets.poles[list(ids.values())]
    tallies = probe_controls(targets, rounds, embeddings)
    return {
        (key.method, key.subset, part): estimate.mean
        for tally in tallies
        for part in tally.parts
        for key, estimate in zip(tally.keys, tally.estimates(part), strict=True)
    }


@pytest.mark.parametrize("name", [BAG_OF_WORDS, EMBEDDING, TEMPLATE_ONLY])
@pytest.mark.parametrize("part", ["E1", "E2", "E3", "E4"])
def test_what_is_additive_is_at_chance_over_all_prompts(found, name: str, part: str) -> None:
    assert found[name, "all", part] == CHANCE


@pytest.mark.parametrize("subset", ["negated", "not negated"])
def test_within_prompts_of_one_kind_a_seen_word_gives_the_answer(found, subset: str) -> None:
    for part in ("E2", "E3"):
        assert found[BAG_OF_WORDS, subset, part] > 0.95
    for part in ("E1", "E4"):
        assert found[BAG_OF_WORDS, subset, part] == CHANCE
    assert found[EMBEDDING, subset, "E4"] > 0.9
    assert found[TEMPLATE_ONLY, subset, "E2"] == CHANCE


def test_with_the_negation_flag_they_can_compose(found) -> None:
    assert found[BAG_OF_WORDS + FLAG, "all", "E2"] > 0.95
    assert found[BAG_OF_WORDS + FLAG, "all", "E4"] == CHANCE
    assert found[EMBEDDING + FLAG, "all", "E4"] > 0.9


def test_additive_controls_over_all_prompts_are_marked_uninformative(targets: Targets) -> None:
    rounds = [draw_round(targets, 0, ("lemma", "shape"))]
    tallies = probe_controls(targets, rounds, np.ones((60, 2), np.float32))
    marks = {(key.method, key.subset): key.informative for t in tallies for key in t.keys}
    for name in (BAG_OF_WORDS, EMBEDDING, TOKEN_COUNT, TEMPLATE_ONLY):
        assert marks[name, "all"] is False
        assert marks[name, "negated"] is marks[name, "not negated"] is True
    assert marks[BAG_OF_WORDS + FLAG, "all"] is marks[EMBEDDING + FLAG, "all"] is True


@pytest.mark.parametrize("with_flag", [False, True])
def test_a_control_is_ridge_regression_on_its_features(targets: Targets, with_flag: bool) -> None:
    from sklearn.linear_model import Ridge

    train = np.random.default_rng(1).random(len(targets)) < 0.5
    embeddings = np.random.default_rng(2).standard_normal((60, 5)).astype(np.float32)
    for control in controls_of(targets, embeddings):
        asked = flagged(control, targets) if with_flag else control
        table = asked.table.toarray() if hasattr(asked.table, "toarray") else asked.table
        x = table[asked.code]
        deviation = x[train].std(axis=0)
        kept = deviation > 1e-4
        x = (x[:, kept] - x[train][:, kept].mean(axis=0)) / deviation[kept]
        theirs = Ridge(alpha=0.1 * train.sum()).fit(x[train], targets.targets[train])
        mine = fit_control(asked, train, targets.targets)[asked.code]
        assert mine == pytest.approx(theirs.predict(x), abs=1e-6)


def test_a_template_is_known_by_its_words_outside_the_slot(targets: Targets) -> None:
    (control,) = [c for c in controls_of(targets, None) if c.name == TEMPLATE_ONLY]
    assert control.table.shape[0] == 40
    # "feel", "they", "and", "at", "do", "not", "place0" ... and the 40 templates themselves.
    assert control.table.shape[1] == 6 + 40 + 40


def test_a_verdict_names_the_best_informative_control(targets: Targets) -> None:
    one = draw_round(targets, 0, ("lemma", "shape"))
    truth = one.labels[0][one.held_out].astype(np.float32)
    rng = np.random.default_rng(3)

    def tally(key: Key, share: float) -> Tally:
        made = Tally(targets, [key])
        made.add(
            one.split,
            (truth * np.where(rng.random(len(truth)) < share, 1, -1))[None],
            one.labels[0],
        )
        return made

    probe = Key("ridge", "probe", True, "raw")
    good, poor = tally(probe, 0.9), tally(probe, 0.6)
    controls = [
        tally(Key("weak", "control", True), 0.5),
        tally(Key("strong", "control", True), 0.7),
        tally(Key("marked", "control", False), 1.0),
        tally(Key("twin", "control", True, "raw", of="lda"), 1.0),
    ]
    won, lost = (verdict("valence", t, probe, "E1", controls) for t in (good, poor))
    assert won is not None and lost is not None
    assert won["control"] == lost["control"] == "strong"
    assert won["better"] and "better than strong" in won["text"]
    assert not lost["better"] and "not better than strong" in lost["text"]


def test_a_decision_of_0_is_half_right(targets: Targets) -> None:
    one = draw_round(targets, 0, ("lemma", "shape"))
    made = Tally(targets, [Key("none", "control", True)])
    made.add(one.split, np.zeros((1, len(one.held_out)), np.float32), one.labels[0])
    assert made.estimates("E1")[0].mean == 0.5


def test_shrinkage_grows_as_rows_depend_on_each_other(targets: Targets) -> None:
    rng = np.random.default_rng(4)
    d = 30
    mixing = rng.standard_normal((d, d)) @ np.diag(np.linspace(0.1, 3, d))
    alone = rng.standard_normal((len(targets), d)) @ mixing
    by_word = rng.standard_normal((60, d))[targets.word] @ mixing
    pairs = draw_pairs(targets, np.ones(len(targets), bool), rng)
    found = []
    for rows in (alone, by_word):
        x = rows.astype(np.float32)
        moments = x.mean(axis=0).astype(float), x.var(axis=0).astype(float)
        together = dots(x, pairs, *moments, 1, targets.template).sum(axis=2)
        found.append(shrinkage(together, pairs, d))
    assert 0 <= found[0] < 0.05
    assert found[1] > 5 * found[0]
    assert found[1] < 1


def test_shrinkage_of_independent_rows_is_ledoit_and_wolfs(targets: Targets) -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    rng = np.random.default_rng(5)
    rows = 400
    train = np.zeros(len(targets), bool)
    train[rng.choice(len(targets), rows, replace=False)] = True
    d = 60
    x = (rng.standard_normal((len(targets), d)) * 1.0).astype(np.float32)
    x[:, 1:] += 0.7 * x[:, :-1]
    used = x[train].astype(float)
    pairs = draw_pairs(targets, train, rng)
    together = dots(x, pairs, used.mean(axis=0), used.var(axis=0), 1, targets.template).sum(axis=2)
    mine = shrinkage(together, pairs, d)
    theirs = ledoit_wolf_shrinkage((used - used.mean(axis=0)) / used.std(axis=0))
    assert mine == pytest.approx(theirs, abs=0.06)
