"""Questionnaires: against the published losses, against brute force, and what they refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestCentroid
from typer.testing import CliRunner

from emo_harness.cli.main import app
from emo_harness.errors import UserError
from emo_harness.lm_models import WEIGHTS
from emo_harness.probe.components import exact_components
from emo_harness.probe.questionnaire.asked import (
    Rendering,
    asked_of,
    load_prompts,
    load_questions,
    orders_of,
)
from emo_harness.probe.questionnaire.characterisation import (
    auc,
    expected_values,
    leave_one_out,
)
from emo_harness.probe.questionnaire.losses import ask, losses, order_sensitivity, read_losses
from tests.conftest import ROOT

PUBLISHED = ROOT.parent / "shared" / "data" / "emo_llm"
PROMPTS = [
    {"id": 0, "prompt": "Tom is happy. ", "tag": "high"},
    {"id": 1, "prompt": "Tom is sad. ", "tag": "low"},
    {"id": 2, "prompt": "All is well. ", "tag": "high"},
    {"id": 3, "prompt": "All is lost. ", "tag": "low"},
]
QUESTIONS = [
    {"id": 0, "question": "How is it going? ", "answers": ["Very well.", "So so.", "Badly."]},
    {"id": "b", "question": "And tomorrow? ", "answers": ["Better", "Worse"]},
]


def lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return lines(tmp_path / "p.jsonl", PROMPTS), lines(tmp_path / "q.jsonl", QUESTIONS)


@pytest.fixture(scope="module")
def lm():
    from emo_harness.lm_models.shared_prefix import SharedPrefixLM

    return SharedPrefixLM(pretrained=str(WEIGHTS), device="cpu")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs ../shared/data/emo_llm")
def test_published_losses_give_the_published_figures() -> None:
    prompts = load_prompts(PUBLISHED / "valence_prompts_20240523_30.jsonl")
    kept = PUBLISHED / "cache_ce_loss_results_20240523_60_30.json"
    questions = load_questions(PUBLISHED / "valence_questionnaire_20240523_60.jsonl")
    found = read_losses(kept, prompts, questions)
    assert all(
        np.array_equal(a, b)
        for x, y in zip(found, read_losses(kept, prompts), strict=True)
        for a, b in zip(x, y, strict=True)
    )
    features = np.array([np.concatenate(one) for one in found])
    assert features.shape == (30, 240)
    explained = exact_components(features, 30).explained
    np.testing.assert_allclose(explained[:3], [0.650, 0.171, 0.038], atol=5e-4)
    tags = [prompt.tag for prompt in prompts]
    separation = leave_one_out(features, tags, np.random.default_rng(0))
    assert separation.component_auc[0] == 1.0
    assert separation.accuracy == 1.0
    values = expected_values(found)
    is_high = np.array(tags) == "high valence"
    assert values[is_high].mean() == pytest.approx(1.659, abs=5e-4)
    assert values[~is_high].mean() == pytest.approx(1.281, abs=5e-4)


def test_leave_one_out_is_the_nearest_centroid_of_the_others() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(15, 6))
    tags = list("aaaaaabbbbbcccc")
    features[:6, 0] += 1.5
    right = []
    for left in range(15):
        others = [i for i in range(15) if i != left]
        nearest = NearestCentroid().fit(features[others], [tags[i] for i in others])
        right.append(nearest.predict(features[[left]])[0] == tags[left])
    by_tag = [np.mean([r for r, t in zip(right, tags, strict=True) if t == tag]) for tag in "abc"]
    found = leave_one_out(features, tags, rng)
    assert found.accuracy == pytest.approx(np.mean(by_tag))
    assert found.component_auc == ()


def test_random_tags_are_not_told_apart() -> None:
    ps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ps.append(leave_one_out(rng.normal(size=(12, 5)), list("ab" * 6), rng).p)
    assert np.mean(np.array(ps) < 0.05) <= 0.15
    assert 0.3 < np.mean(ps) < 0.7


def test_auc_and_components_are_those_of_sklearn_and_the_covariance() -> None:
    rng = np.random.default_rng(1)
    values, is_high = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    assert auc(values, is_high) == pytest.approx(roc_auc_score(is_high, values))
    features = rng.normal(size=(20, 7))
    variances = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    np.testing.assert_allclose(
        exact_components(features, 20).explained[:7], variances / variances.sum()
    )


def test_orders_are_different_and_begin_as_given() -> None:
    rng = np.random.default_rng(0)
    assert orders_of(3, 1, rng) == [(0, 1, 2)]
    assert orders_of(3, 2, rng) == [(0, 1, 2), (2, 1, 0)]
    assert len(set(orders_of(4, 10, rng))) == 10
    assert sorted(orders_of(3, 99, rng)) == sorted({(0, 1, 2), *orders_of(3, 6, rng)})


def test_losses_are_those_of_the_plain_model(files: tuple[Path, Path], lm) -> None:
    import torch

    prompts, questions = load_prompts(files[0]), load_questions(files[1])
    asked, _ = asked_of(prompts, questions, rendering=Rendering(), rng=np.random.default_rng(0))
    table = ask(lm, asked)
    mean = losses(table, "mean", is_letters=False)
    total = losses(table, "sum", is_letters=False)
    pmi = losses(table, "pmi", is_letters=False)

    def plain(context: str, answer: str) -> tuple[float, int]:
        first, rest = lm._encode_pair(context, answer)
        ids = torch.tensor([first + rest])
        with torch.no_grad():
            log_p = lm.model(ids).logits.log_softmax(-1)[0]
        scored = [log_p[len(first) + i - 1, token] for i, token in enumerate(rest)]
        return -float(sum(scored)), len(rest)

    for p, q, a in [(0, 0, 0), (3, 1, 1), (2, 0, 2)]:
        context, answer = prompts[p].prompt + questions[q].question, questions[q].answers[a]
        loss, n_tokens = plain(context, answer)
        alone, _ = plain(questions[q].question, answer)
        assert total[p][q][a] == pytest.approx(loss, abs=1e-3)
        assert mean[p][q][a] == pytest.approx(loss / n_tokens, abs=1e-3)
        assert pmi[p][q][a] == pytest.approx(loss - alone, abs=2e-3)


def test_a_liking_for_a_letter_cancels_over_all_orders() -> None:
    import pandas as pd

    rows = [
        {"prompt": 0, "question": 0, "answer": answer, "order": number}
        for number, order in enumerate([(0, 1), (1, 0)])
        for answer in order
    ]
    table = pd.DataFrame(rows).assign(log_probability=np.log([0.9, 0.1, 0.9, 0.1]), n_tokens=1)
    found = losses(table, "mean", is_letters=True)[0][0]
    np.testing.assert_allclose(found, [math.log(2)] * 2)
    assert order_sensitivity(table) == pytest.approx(0.4)


def test_the_chat_template_gets_prompt_and_question_as_messages() -> None:
    def template(messages: list[dict]) -> str:
        return "".join(f"<{m['role']}>{m['content']}" for m in messages)

    rendering = Rendering(template)
    assert rendering("Be kind. ", "How? ") == "<system>Be kind.<user>How?"
    assert rendering("", "How? ") == "<user>How?"


def test_a_system_prompt_is_never_lost() -> None:
    def without_system(messages: list[dict]) -> str:
        return "".join(f"<{m['role']}>{m['content']}" for m in messages if m["role"] == "user")

    assert Rendering(without_system)("Be kind. ", "How? ") == "<user>Be kind.\n\nHow?"


@pytest.mark.parametrize("mode", ["answers", "letters"])
def test_the_command_writes_everything(mode: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--prompts", files[0], "--questions", files[1], "--model", WEIGHTS]
    arguments += ["--mode", mode, "--orders", 2, "--score", "pmi", "--out", out, "--json"]
    done = CliRunner().invoke(app, ["probe", "questionnaire", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["n_losses"] == 5
    assert (told["order_sensitivity"] is None) == (mode == "answers")
    names = {path.name for path in out.iterdir()}
    assert names == {"questionnaire.json", "components.svg", "losses.parquet"}


@pytest.mark.parametrize(
    ("prompts", "questions", "found"),
    [
        ([], QUESTIONS, "nothing"),
        ([PROMPTS[0], PROMPTS[0]], QUESTIONS, "the id '0' twice"),
        ([{"id": 1}], QUESTIONS, "no 'prompt'"),
        (PROMPTS, [{"id": 0, "question": "a", "answers": ["x"]}], "the answers ['x']"),
        (PROMPTS, [{"id": 0, "question": "a", "answers": ["x", "x "]}], "the answers"),
        (PROMPTS, [{"id": 0, "question": "a", "answers": "xy"}], "answers = 'xy'"),
    ],
)
def test_bad_files_are_refused(prompts, questions, found: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_prompts(lines(tmp_path / "p.jsonl", prompts))
        load_questions(lines(tmp_path / "q.jsonl", questions))
    assert found in str(error.value)


def test_losses_of_other_prompts_are_refused(tmp_path: Path, files: tuple[Path, Path]) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"0": {"0": {"Very well.": {"loss": 1.0}}}}))
    with pytest.raises(UserError, match="no losses of the prompts"):
        read_losses(kept, load_prompts(files[0]))
    kept.write_text("[1]")
    with pytest.raises(UserError, match="reading losses"):
        read_losses(kept, load_prompts(files[0]))
