"""The Emo_LLM protocol: its supports, its classifiers, its files, and the one command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import classification_report
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from emo_harness.activations.store import Activations
from emo_harness.errors import UserError
from emo_harness.probe.emo_llm.draws import PARTS, Prompts, draw, prompts_of
from emo_harness.probe.emo_llm.lists import TEMPLATES, find_files, lists_told
from emo_harness.probe.emo_llm.neighbours import vote_of_nearest
from emo_harness.probe.emo_llm.protocol import _scaler, evaluate_emo_llm, row_of
from emo_harness.probe.emo_llm.texts import comparison
from tests.conftest import SHARED
from tests.lm_models.local_models import saved
from tests.probe.made_store import made_activations, made_prompts, made_store

PUBLISHED = SHARED / "data" / "emo_llm"
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="published Emo_LLM data not at hand (../shared/data/emo_llm)"
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Activations:
    prompts = made_prompts(40, 30, dimensions=("valence", "arousal"), n_neutral=4)
    values = made_activations(prompts, strength=4.0, offset=0.5)
    return made_store(tmp_path_factory.mktemp("store"), prompts, values)


@pytest.fixture(scope="module")
def published_prompts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prompts]:
    """The published lists and templates, by dimension, beside activations of no meaning."""
    from emo_harness.probe.corpus import load_corpus

    files = find_files(PUBLISHED, "published")
    corpus = load_corpus(files.adjectives, files.templates)
    table = corpus.prompts()
    table["text"] = table["text"].astype(str)
    values = np.random.default_rng(0).standard_normal((len(table), 1, 1, 2)).astype(np.float32)
    store = made_store(tmp_path_factory.mktemp("published"), table, values, embeddings=False)
    described = {name: dict(facts) for name, facts in corpus.facts["dimensions"].items()}
    store.manifest.corpus["dimensions"] = described
    return {name: prompts_of(store, name) for name in ("valence", "arousal")}


class TestSplits:
    """What is drawn."""

    @published
    @pytest.mark.parametrize("seed", range(12))
    def test_supports_of_valence_are_the_published_ones(
        self, published_prompts: dict[str, Prompts], seed: int
    ) -> None:
        prompts = published_prompts["valence"]
        assert len(prompts) == 48_260
        drawn = draw(prompts, np.random.default_rng(seed))
        supports = {part: len(numbers) for part, numbers in drawn.parts.items()}
        drew_the_twin = supports["E1"] == 7366
        assert supports["E1"] == 7112 or drew_the_twin
        assert supports["E2"] == 38 * (190 - (29 if drew_the_twin else 28))
        # About 3499 + 30 where the twin is not in E1; four standard deviations of 36.
        assert 3350 < supports["E3"] < 3680
        assert len(drawn.train) == (48_260 - sum(supports.values())) * 60 // 100
        assert prompts.label[drawn.parts["E1"]].mean() == 0.5

    @published
    @pytest.mark.parametrize("seed", range(12))
    def test_supports_of_arousal_are_the_published_ones(
        self, published_prompts: dict[str, Prompts], seed: int
    ) -> None:
        prompts = published_prompts["arousal"]
        assert len(prompts) == 25_654
        drawn = draw(prompts, np.random.default_rng(seed))
        assert len(drawn.parts["E1"]) == 3810
        assert len(drawn.parts["E2"]) == 3268
        assert abs(len(drawn.parts["E3"]) - 1857) < 84
        assert prompts.label[drawn.parts["E1"]].mean() == 0.5

    @published
    def test_the_first_class_is_label_1_and_negation_turns_it_round(
        self, published_prompts: dict[str, Prompts]
    ) -> None:
        for name, first in (("valence", "valence_bad"), ("arousal", "low_arousal_adjectives")):
            prompts = published_prompts[name]
            assert prompts.first_class == first
            # Corpus order: the first class comes first in every template.
            assert prompts.label[0] != prompts.negated[0]
            assert prompts.label.mean() == 0.5

    def test_parts_are_disjoint_and_hold_what_they_promise(self, planted: Activations) -> None:
        prompts = prompts_of(planted, "valence")
        for seed in range(20):
            drawn = draw(prompts, np.random.default_rng(seed))
            used = np.concatenate([*drawn.parts.values(), drawn.train])
            assert len(np.unique(used)) == len(used)
            e1, e2, e3 = (drawn.parts[part] for part in PARTS)
            assert len(np.unique(prompts.word[e1])) == 6
            assert len(np.unique(prompts.template[e2])) == 4
            others = np.concatenate([e2, e3, drawn.train])
            assert not np.isin(prompts.word[others], prompts.word[e1]).any()
            assert not np.isin(
                prompts.template[np.concatenate([e3, drawn.train])], prompts.template[e2]
            ).any()
            # Unseen adjectives are asked in all templates, those of E2 among them.
            assert len(e1) == 6 * 30

    def test_an_adjective_listed_twice_is_held_out_together_with_its_twin(
        self, tmp_path: Path
    ) -> None:
        once = made_prompts(20, 20)
        prompts = pd.concat([once, once[once["word"] == "word3"]], ignore_index=True)
        store = made_store(tmp_path, prompts, np.zeros((len(prompts), 1, 1, 2), np.float32))
        read = prompts_of(store, "valence")
        assert read.word.max() == 19
        for seed in range(20):
            drawn = draw(read, np.random.default_rng(seed))
            others = np.setdiff1d(np.arange(len(read)), drawn.parts["E3"])
            assert not np.isin(read.twin[others], read.twin[drawn.parts["E3"]]).any()

    def test_the_order_of_capture_makes_no_difference(self, tmp_path: Path) -> None:
        prompts = made_prompts(20, 12)
        values = made_activations(prompts)
        stores = [made_store(tmp_path / str(s), prompts, values, seed=s) for s in (1, 2)]
        one, other = (evaluate_emo_llm(s, "valence", seeds=2, progress=False) for s in stores)
        pd.testing.assert_frame_equal(pd.DataFrame(one.results), pd.DataFrame(other.results))

    @pytest.mark.parametrize(("n_words", "n_templates"), [(6, 20), (20, 6)])
    def test_too_little_to_hold_out_is_refused(
        self, tmp_path: Path, n_words: int, n_templates: int
    ) -> None:
        prompts = made_prompts(n_words, n_templates)
        store = made_store(tmp_path, prompts, made_activations(prompts))
        with pytest.raises(UserError, match="at least 7"):
            prompts_of(store, "valence")


class TestClassifiers:
    """What is fitted and asked."""

    @pytest.mark.parametrize("d", [3, 40, 300])
    def test_votes_are_those_of_scikit_learn(self, d: int) -> None:
        rng = np.random.default_rng(d)
        train, asked = (rng.standard_normal((n, d)).astype(np.float32) for n in (400, 150))
        labels = rng.random(400) < 0.5
        peer = KNeighborsClassifier(5, algorithm="brute").fit(train, labels)
        assert (vote_of_nearest(train, labels, asked) == peer.predict(asked)).all()

    def test_rows_that_float32_products_cannot_tell_apart_are_told_apart(self) -> None:
        base = np.full((1, 64), 1000, np.float32)
        steps = np.arange(1, 12, dtype=np.float32)
        train = base + steps[:, None] * 0.001
        labels = steps <= 3
        assert vote_of_nearest(train, labels, base)[0]
        assert not vote_of_nearest(train[::-1].copy(), labels, base)[0]

    def test_of_equally_near_rows_the_first_vote(self) -> None:
        train = np.zeros((9, 4), np.float32)
        labels = np.arange(9) < 5
        assert vote_of_nearest(train, labels, train[:1])[0]
        assert not vote_of_nearest(train, ~labels, train[:1])[0]

    def test_the_scaler_is_that_of_scikit_learn(self) -> None:
        x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32) * 3 + 5
        x[:, 2] = 7.25
        peer = StandardScaler().fit(x.astype(np.float64))
        mean, scale = _scaler(x, n_rows=16)
        np.testing.assert_allclose(mean, peer.mean_, rtol=1e-6)
        np.testing.assert_allclose(scale, peer.scale_, rtol=1e-6)

    def test_a_planted_axis_is_found_and_noise_is_not(self, planted: Activations) -> None:
        found = evaluate_emo_llm(planted, "valence", seeds=3, progress=False)
        for part in PARTS:
            row = row_of(found, "logistic", part)
            assert row is not None and row["accuracy"] > 0.9 and row["converged"]
        prompts = planted.index.sort_values("prompt").assign(text="")
        noise = np.random.default_rng(3).standard_normal((len(prompts), 4, 2, 6))
        blank = made_store(planted.folder.parent / "blank", prompts, noise.astype(np.float32))
        for part in PARTS:
            row = row_of(evaluate_emo_llm(blank, "valence", seeds=3, progress=False), "knn", part)
            assert row is not None and 0.35 < row["accuracy"] < 0.65

    def test_accuracies_are_means_over_seeds_with_clustered_intervals(
        self, planted: Activations
    ) -> None:
        found = evaluate_emo_llm(planted, "arousal", seeds=4, progress=False)
        assert len(found.settings["seeds"]) == 4
        for row in found.results:
            if row["subset"] == "all":
                assert row["n_seeds"] == 4
                assert row["low"] <= row["accuracy"] <= row["high"]
                assert 0 <= row["sd_over_seeds"] < 0.5
        for part in PARTS:
            halves = [row_of(found, "knn", part, s) for s in ("negated", "not negated")]
            assert all(halves)
        words = row_of(found, "logistic", "E1")
        assert words is not None and words["n_words"] <= 24 and words["n_prompts"] == 4 * 6 * 30

    def test_without_neighbours_there_are_none(self, planted: Activations, tmp_path: Path) -> None:
        found = evaluate_emo_llm(
            planted, "valence", seeds=1, knn=False, out=tmp_path, progress=False
        )
        assert {row["method"] for row in found.results} == {"logistic"}
        assert not list(tmp_path.rglob("knn*"))
        assert "KNN" not in (tmp_path / "seed-0" / "results.txt").read_text("utf-8")

    def test_a_fit_that_did_not_converge_is_told(
        self, planted: Activations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("emo_harness.probe.emo_llm.protocol.MAX_ITERATIONS", 1)
        found = evaluate_emo_llm(planted, "valence", seeds=2, knn=False, progress=False)
        assert "2 of 2 logistic fits did not converge" in found.remarks[0]
        assert all(row["converged"] is False for row in found.results)

    def test_one_label_alone_is_refused(self, tmp_path: Path) -> None:
        prompts = made_prompts(40, 10)
        prompts = prompts[~prompts["negation"] & (prompts["valence"] == 1)]
        # One low word, in two templates, is drawn into a part in some seed.
        low = prompts[prompts["word"] == "word0"].assign(word="low", valence=-1)
        prompts = pd.concat([prompts, low]).reset_index(drop=True)
        prompts["template"] = np.arange(len(prompts)) % 10
        prompts["valence"] = prompts["valence"].astype("Int8")
        store = made_store(tmp_path, prompts, made_activations(prompts))
        with pytest.raises(UserError, match="one label alone"):
            evaluate_emo_llm(store, "valence", seeds=20, knn=False, progress=False)


class TestFiles:
    """What is written."""

    def test_texts_are_those_of_scikit_learn_under_the_published_headings(
        self, planted: Activations, tmp_path: Path
    ) -> None:
        evaluate_emo_llm(planted, "valence", seeds=1, out=tmp_path, progress=False)
        folder = tmp_path / "seed-0"
        text = (folder / "results.txt").read_text("utf-8")
        headings = [line for line in text.splitlines() if line.startswith("===")]
        assert headings == [
            "=== USE_PCA = False ===",
            *(f"=== {e} {k} CLASSIFIER EVAL ===" for e in PARTS for k in ("LINEAR", "KNN")),
        ]
        for part in PARTS:
            for name in ("lr", "knn"):
                one = (folder / f"{name}_classifier_eval_{part.lower()}.txt").read_text("utf-8")
                assert one in text

    def test_weights_give_the_written_answers_again(
        self, planted: Activations, tmp_path: Path
    ) -> None:
        evaluate_emo_llm(planted, "valence", seeds=1, knn=False, out=tmp_path, progress=False)
        kept = load_file(tmp_path / "seed-0" / "weights.safetensors")
        prompts = prompts_of(planted, "valence")
        numbers = draw(prompts, np.random.default_rng(0)).parts["E1"]
        raw = planted.read("value", rows=prompts.rows[numbers]).reshape(len(numbers), -1)
        decision = (raw - kept["mean"]) / kept["scale"] @ kept["coef"][0] + kept["intercept"]
        expected = classification_report(
            prompts.label[numbers].astype(int), (decision > 0).astype(int)
        )
        written = (tmp_path / "seed-0" / "lr_classifier_eval_e1.txt").read_text("utf-8")
        assert written == expected

    def test_the_tables_of_an_evaluation_agree(self, planted: Activations, tmp_path: Path) -> None:
        found = evaluate_emo_llm(planted, "valence", seeds=2, out=tmp_path, progress=False)
        described = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
        table = pd.read_parquet(tmp_path / "results.parquet")
        assert described["protocol"] == "emo-llm" and described["dimension"] == "valence"
        assert len(table) == len(described["results"]) == len(found.results) == 2 * 3 * 3
        assert table["accuracy"].tolist() == [row["accuracy"] for row in found.results]
        supports = described["settings"]["seeds"]
        assert [one["E1"] for one in supports] == [6 * 30] * 2

    def test_published_figures_stand_beside_ours(self, planted: Activations) -> None:
        both = [
            evaluate_emo_llm(planted, name, seeds=1, knn=name == "valence", progress=False)
            for name in ("valence", "arousal")
        ]
        columns, rows = comparison(both)
        assert [cells[0] for cells, _ in rows] == [
            "valence, logistic",
            "valence, knn",
            "arousal, logistic",
        ]
        assert all(len(cells) == len(columns) for cells, _ in rows)
        assert rows[0][0][2::2] == ["0.90", "0.83", "0.99"]
        assert rows[2][0][2::2] == ["0.79", "0.82", "0.96"]


def datasets(folder: Path, *, with_published: bool = True) -> Path:
    """Adjectives and templates as a checkout has them, a few of each."""
    folder.mkdir(parents=True)
    words = {
        "happy_sad_adjectives": ("valence_bad", "valence_good"),
        "low_high_arousal_adjectives": ("low_arousal_adjectives", "high_arousal_adjectives"),
    }
    historical = {"happy_sad_adjectives": "190", "low_high_arousal_adjectives": "101"}
    for k, (stem, classes) in zip((1, 0), words.items(), strict=True):
        listed = {c: [f"{c.split('_')[k]}ish{n}" for n in range(5)] for c in classes}
        (folder / f"{stem}.json").write_text(json.dumps(listed), "utf-8")
        if with_published:
            longer = {c: [*own, f"{c.split('_')[k]}er"] for c, own in listed.items()}
            name = f"{stem}.e12b48d_{historical[stem]}.json"
            (folder / name).write_text(json.dumps(longer), "utf-8")
    templates = [
        {
            "prompt_template": f"Bob {n} {'is not' if n % 2 else 'is'} {{}}, so he",
            "note": "made",
            "negation": bool(n % 2),
        }
        for n in range(8)
    ]
    (folder / TEMPLATES).write_text(json.dumps(templates), "utf-8")
    return folder


class TestCommand:
    """`emo probe emo-llm`, on a local folder in the hub's format."""

    def test_one_command_captures_evaluates_and_tells(self, tmp_path: Path) -> None:
        from emo_harness.cli.probe import app

        model = saved(tmp_path / "model", "gpt2")
        folder, out = datasets(tmp_path / "datasets"), tmp_path / "out"
        command = ["emo-llm", "--model", str(model), "--datasets", str(folder), "--out", str(out)]
        done = CliRunner().invoke(app, [*command, "--seeds", "2"])
        assert done.exit_code == 0, done.output
        assert "valence, logistic" in done.output and "0.90" in done.output
        assert "happy_sad_adjectives.e12b48d_190.json, 12 adjectives" in done.output
        for name in ("valence", "arousal"):
            assert (out / name / "evaluation.json").is_file()
            assert (out / name / "seed-1" / "results.txt").is_file()
        shards = {p: p.stat().st_mtime_ns for p in (out / "activations").glob("shard*")}
        again = CliRunner().invoke(app, [*command, "--seeds", "1", "--no-knn", "--json"])
        assert again.exit_code == 0, again.output
        told = json.loads(again.stdout.splitlines()[-1])
        assert [one["dimension"] for one in told["evaluations"]] == ["valence", "arousal"]
        assert told["published"]["arousal"]["logistic"] == [0.79, 0.82, 0.96]
        # The activations are taken as they are.
        assert shards == {p: p.stat().st_mtime_ns for p in (out / "activations").glob("shard*")}

    def test_lists_are_found_in_a_checkout_and_named(self, tmp_path: Path) -> None:
        from emo_harness.probe.corpus import load_corpus

        datasets(tmp_path / "both" / "datasets")
        found = find_files(tmp_path / "both", "published")
        assert [p.name for p in found.adjectives] == [
            "happy_sad_adjectives.e12b48d_190.json",
            "low_high_arousal_adjectives.e12b48d_101.json",
        ]
        later = find_files(tmp_path / "both", "later")
        assert later.adjectives[0].name == "happy_sad_adjectives.json"
        alone = find_files(datasets(tmp_path / "alone", with_published=False), "published")
        assert alone.adjectives[0].name == "happy_sad_adjectives.json"
        (told, _) = lists_told(load_corpus(alone.adjectives, alone.templates))
        assert "10 adjectives (the published figures are of 190)" in told

    @published
    def test_the_published_lists_are_told_to_be_so(self) -> None:
        from emo_harness.probe.corpus import load_corpus

        for which, remark in (("published", "as published"), ("later", "figures are of")):
            files = find_files(PUBLISHED, which)
            told = lists_told(load_corpus(files.adjectives, files.templates))
            assert len(told) == 2 and all(remark in one for one in told)

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            find_files(tmp_path / "nowhere", "published")
        with pytest.raises(UserError, match=TEMPLATES):
            find_files(tmp_path, "published")
        folder = datasets(tmp_path / "datasets")
        (folder / "happy_sad_adjectives.json").unlink()
        with pytest.raises(UserError, match=r"but happy_sad_adjectives\.e12b48d_190\.json"):
            find_files(folder, "later")
