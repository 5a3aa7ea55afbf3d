"""The planted feeling: the rule holds in the corpus and the model; it is read, and it turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emo_harness.activations.capture import Vectors, vectors
from emo_harness.activations.loading import LoadedModel, load_language_model
from emo_harness.axes import Axis
from emo_harness.demo import feelings_path, feelings_truth_path
from emo_harness.demo.feelings_card import card
from emo_harness.demo.feelings_corpus import (
    OUTCOMES,
    Sentence,
    beginning,
    continuation,
    outcome_words,
    sentences,
)
from emo_harness.demo.feelings_truth import (
    composition,
    planted_words,
    read_feelings_truth,
    verb_log_odds,
)
from emo_harness.demo.measure_truth import weights_sha256
from emo_harness.demo.train_feelings import SENTENCES_PER_STEP, train
from emo_harness.probe.corpus import Corpus, load_corpus
from emo_harness.steer.steering import Steering
from emo_harness.steer.word_sets import load_word_sets

DOSES = (-2.0, -1.0, 0.0, 1.0, 2.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models on busy machines run many times faster on one thread; restored afterwards."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module")
def asked(corpus: Corpus) -> list[Sentence]:
    return sentences(corpus)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_language_model(str(feelings_path()), device="cpu")


@pytest.fixture(scope="module")
def prompts(corpus: Corpus) -> pd.DataFrame:
    """Placed on valence, with targets: a sample that is the same every time."""
    table = corpus.prompts()
    table = table[table["valence"].fillna(0) != 0]
    table = table.drop_duplicates("text").sample(2400, random_state=0).reset_index(drop=True)
    sign = np.where(table["negation"], -1, 1)
    return table.assign(target=table["valence"].astype(int) * sign)


@pytest.fixture(scope="module")
def captured(loaded: LoadedModel, prompts: pd.DataFrame) -> Vectors:
    return vectors(loaded, prompts, sites=("value", "resid_post"), position="last")


def test_the_rule_turns_round_where_the_adjective_is_denied(asked: list[Sentence]) -> None:
    for dimension in OUTCOMES:
        for negation, sign in ((False, 1), (True, -1)):
            own = [s for s in asked if s.negation is negation]
            assert own
            assert all(s.targets[dimension] == sign * s.poles[dimension] for s in own)


def test_neither_word_nor_template_foretells_the_target_alone(asked: list[Sentence]) -> None:
    for name in ("word", "negation"):
        by_value: dict[object, list[int]] = {}
        for sentence in asked:
            by_value.setdefault(getattr(sentence, name), []).append(sentence.targets["valence"])
        assert max(abs(np.mean(targets)) for targets in by_value.values()) < 0.05


def test_every_pair_of_word_and_template_occurs_once_and_some_are_kept_out(
    asked: list[Sentence],
) -> None:
    assert len({s.text for s in asked}) == len(asked)
    assert 0.08 < np.mean([s.is_held_out for s in asked]) < 0.12
    assert len({s.word for s in asked if s.is_held_out}) == len({s.word for s in asked})


def test_continuations_hold_the_verbs_of_the_targets_alone() -> None:
    for valence in (1, -1):
        for arousal in (1, -1):
            targets = {"valence": valence, "arousal": arousal}
            allowed = {w for d, pole in targets.items() for w in OUTCOMES[d][pole]}
            for seed in range(50):
                text = continuation(np.random.default_rng(seed), targets)
                assert set(text.replace(",", "").strip(" .").split()) - {"and", "then"} <= allowed
                assert len(set(text.replace(",", "").strip(" .").split()) & allowed) > 1


def test_a_sentence_is_cut_after_its_adjective(asked: list[Sentence]) -> None:
    for sentence in asked[:: len(asked) // 300]:
        text, targets = beginning(sentence, "cut")
        assert text.endswith(sentence.word)
        assert sentence.text.startswith(text)
        assert targets == sentence.targets
        assert beginning(sentence, "word") == (sentence.word, sentence.poles)


def test_verbs_are_of_the_shipped_outcome_words_and_no_adjectives(
    asked: list[Sentence], loaded: LoadedModel
) -> None:
    words = outcome_words()
    assert len(set(words)) == len(words)
    assert not set(words) & {s.word for s in asked}
    for dimension, by_pole in OUTCOMES.items():
        shipped = load_word_sets(None, dimension)
        assert set(by_pole[1]) <= set(shipped.positive)
        assert set(by_pole[-1]) <= set(shipped.negative)
        tokens = planted_words(dimension, loaded.tokenizer)
        assert (len(tokens.positive), len(tokens.negative)) == (len(by_pole[1]), len(by_pole[-1]))


def test_it_loads_offline_with_auto_classes_and_is_small() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(feelings_path(), local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(feelings_path(), local_files_only=True)
    assert model.num_parameters() <= 700_000
    assert model.dtype == torch.float32
    assert len(tokenizer) == model.config.vocab_size
    for text in ("Anna felt calm, so Anna", "Ünïcödé 感情\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert sum(f.stat().st_size for f in feelings_path().iterdir()) < 4 * 2**20


def test_the_rule_holds_on_pairs_that_training_did_not_show(
    loaded: LoadedModel, asked: list[Sentence]
) -> None:
    kept_out = [s for s in asked if s.is_held_out][::3]
    for dimension in OUTCOMES:
        found = composition(loaded, kept_out, dimension)
        assert found.n > 1000
        assert found.right > 0.98
        assert min(found.right_plain, found.right_negated) > 0.96


def test_a_neutral_word_foretells_nothing(loaded: LoadedModel, asked: list[Sentence]) -> None:
    neutral = [s.text for s in asked if not any(s.poles.values())][::40]
    placed = [s.text for s in asked if all(s.poles.values())][::200]
    for dimension in OUTCOMES:
        sizes = [np.median(abs(verb_log_odds(loaded, t, dimension))) for t in (neutral, placed)]
        assert sizes[0] < 0.2 * sizes[1]


def test_it_writes_the_verbs_of_the_target(loaded: LoadedModel, asked: list[Sentence]) -> None:
    model, tokenizer = loaded.model, loaded.tokenizer
    known = {w: p for p, words in OUTCOMES["valence"].items() for w in words}
    right = []
    for sentence in [s for s in asked if s.is_held_out and s.targets["valence"]][::100]:
        prompt = tokenizer(sentence.text, return_tensors="pt")
        whole = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0]
        new = tokenizer.decode(whole[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        assert new.endswith(".")
        poles = [known[w] for w in new.replace(",", "").replace(".", "").split() if w in known]
        assert poles
        right += [pole == sentence.targets["valence"] for pole in poles]
    assert np.mean(right) > 0.95


@pytest.mark.parametrize("site", ["value", "resid_post"])
def test_a_probe_reads_it_from_unseen_words_in_unseen_templates(
    captured: Vectors, prompts: pd.DataFrame, site: str
) -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    flat = captured.values[site].reshape(len(prompts), -1)
    rng = np.random.default_rng(0)
    right, n = 0, 0
    for _ in range(5):
        unseen = np.ones(len(prompts), bool)
        seen = np.ones(len(prompts), bool)
        for column in ("lemma", "scenario"):
            groups = prompts[column].unique()
            out = prompts[column].isin(rng.permutation(groups)[: len(groups) // 4]).to_numpy()
            unseen, seen = unseen & out, seen & ~out
        scaler = StandardScaler().fit(flat[seen])
        probe = RidgeClassifier(100.0).fit(scaler.transform(flat[seen]), prompts["target"][seen])
        found = probe.predict(scaler.transform(flat[unseen]))
        right, n = right + int((found == prompts["target"][unseen]).sum()), n + len(found)
    assert n > 300
    assert right / n > 0.95


@pytest.mark.parametrize("site", ["value", "resid_post"])
def test_steering_along_the_mean_difference_moves_the_verbs_and_other_directions_do_not(
    loaded: LoadedModel, captured: Vectors, prompts: pd.DataFrame, site: str
) -> None:
    axis = _mean_difference(captured, prompts["target"].to_numpy(), site)
    texts = prompts["text"][:100].tolist()

    def responses(direction: Axis) -> np.ndarray:
        return np.array(
            [
                verb_log_odds(loaded, texts, "valence", Steering(direction, dose)).mean()
                for dose in DOSES
            ]
        )

    along = responses(axis)
    assert (np.diff(along) > 0).all()
    reach = along[-1] - along[0]
    assert reach > 6
    for seed in range(4):
        random = responses(axis.random_like(np.random.default_rng(seed)))
        assert np.abs(random - random[2]).max() < 0.5 * reach / 2


def test_the_axes_of_valence_and_arousal_are_two(
    loaded: LoadedModel, captured: Vectors, prompts: pd.DataFrame
) -> None:
    arousal = prompts["arousal"].fillna(0).astype(int) * np.where(prompts["negation"], -1, 1)
    valence = _mean_difference(captured, prompts["target"].to_numpy(), "resid_post")
    other = _mean_difference(captured, arousal.to_numpy(), "resid_post")
    assert np.abs(valence.cosines(other)[1:]).max() < 0.5


def test_card_and_figures_are_about_these_weights_and_agree(corpus: Corpus) -> None:
    figures = read_feelings_truth()
    assert figures["weights_sha256"] == weights_sha256(feelings_path())
    assert figures["corpus_sha256"] == corpus.facts["sha256"]
    assert (feelings_path() / "README.md").read_text() == card(feelings_path(), figures)
    assert feelings_truth_path().stat().st_size < 100_000


def test_figures_say_what_was_promised() -> None:
    figures = read_feelings_truth()
    valence = [row for row in figures["probes"] if row["dimension"] == "valence"]
    assert {row["site"] for row in valence} == {"value", "resid_post"}
    for row in valence:
        assert min(row["pooled"]["accuracy"], row["best"]["accuracy"]) > 0.95
    steered = [row for row in figures["steering"] if row["axis"] == "valence"]
    assert {row["site"] for row in steered} == {"value", "resid_post"}
    for row in steered:
        assert (np.diff(row["log_odds"]) > 0).all()
        assert row["slope"] > 4 * max(map(abs, row["control_slopes"]))


def test_measured_composition_is_that_of_the_card(
    loaded: LoadedModel, asked: list[Sentence]
) -> None:
    kept_out = [s for s in asked if s.is_held_out]
    stored = read_feelings_truth()["composition"]["valence"]
    fresh = composition(loaded, kept_out, "valence")
    assert fresh.n == stored["n"]
    assert fresh.right == pytest.approx(stored["right"], abs=0.002)


def test_training_is_deterministic(tmp_path: Path) -> None:
    losses = [train(tmp_path / name, steps=3, seed=5) for name in ("a", "b")]
    assert losses[0] == losses[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    assert SENTENCES_PER_STEP % 2 == 0
    load_language_model(str(tmp_path / "a"), device="cpu")


@pytest.mark.slow
def test_training_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    two = train(tmp_path / "two", steps=3, seed=5)
    torch.set_num_threads(1)
    assert train(tmp_path / "one", steps=3, seed=5) == two


@pytest.mark.slow
def test_training_learns_the_adjectives_within_seconds(tmp_path: Path) -> None:
    losses = train(tmp_path / "model", steps=90, seed=5)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 2


@pytest.mark.slow
def test_training_is_one_command(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "model"), "--steps", "2"]
    subprocess.run(
        [sys.executable, "-m", "emo_harness.demo.train_feelings", *arguments],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "model" / "model.safetensors").is_file()


def _mean_difference(captured: Vectors, target: np.ndarray, site: str) -> Axis:
    values = captured.values[site]
    flat = values.reshape(len(values), values.shape[1], -1)
    high, low = flat[target == 1].mean(axis=0), flat[target == -1].mean(axis=0)
    return Axis(
        "mean difference",
        site,
        tuple(range(flat.shape[1])),
        high - low,
        (high + low) / 2,
        np.ones_like(high),
    )
