"""`emo attribute` over runs: what is planted is found, and what cannot be asked is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from emo_harness.attribution.attribute import Plan
from emo_harness.attribution.flips import strongest_flips
from emo_harness.attribution.sample import AskedQuestion, sampled_groups, target_number
from emo_harness.cli.main import app
from emo_harness.demo.planted import default_plan
from emo_harness.errors import UserError
from emo_harness.report.attribution.numbers import Attribution
from emo_harness.runs import read_answers, read_runs
from tests.conftest import build_task
from tests.runs.made_runs import made_run

# Of the planted stimuli one that acts on many questions, and a sentence that acts on none.
ACTS, INERT = "ea14", "neutral-5"
METHODS = "leave-one-out,gradient-x-input,gradient-norm"


def demo_run(folder: Path, **emo: Any) -> Path:
    """A run of the shipped model, as lm-eval writes it."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    from emo_harness.lm_models.shared_prefix import SharedPrefixLM

    tracker = EvaluationTracker(output_path=str(folder))
    results = simple_evaluate(
        SharedPrefixLM(pretrained="emo-demo", device="cpu", dtype="float32"),
        tasks=[build_task("emo_calibration_attack", **emo)],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    results["config"] |= {"model": "emo-hf", "model_args": {"pretrained": "emo-demo"}}
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return demo_run(folder, stimuli=[ACTS, "ea16"], placebos=[INERT], questions=20)


@pytest.fixture(scope="module")
def attributed(run: Path) -> dict[str, Any]:
    return invoked(run, "--questions", "8", "--flips", "2", "--methods", METHODS)


def invoked(run: Path, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["attribute", str(run), "--json", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def refused(run: Path, *arguments: str) -> UserError:
    done = CliRunner().invoke(app, ["attribute", str(run), *arguments])
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    assert not (run / "posthoc").exists()
    return done.exception


def question_class(question: AskedQuestion) -> str:
    first, *_, last = question.answer.question.removesuffix(" is").split()
    return f"{first}..{last}"


def test_the_file_is_what_the_report_reads(run: Path, attributed: dict[str, Any]) -> None:
    kept = json.loads((run / "posthoc" / "attribution.json").read_text("utf-8"))
    assert kept == attributed
    found = Attribution.model_validate(kept)
    assert found.is_same_model and found.forced is None and found.n_questions == 8
    (group,) = found.groups
    assert group.n_prompts == 24 and group.n_questions == 8


def test_shown_pieces_join_to_the_prompts_of_the_run(run: Path, attributed: dict[str, Any]) -> None:
    (member,) = read_runs([run]).scores
    assert attributed["shown"]
    for shown in attributed["shown"]:
        row = member.doc_ids.tolist().index(shown["doc_id"])
        (answer,) = read_answers([member.lines[row]])
        for name, arm in (("control", "control"), ("arm_side", shown["arm"])):
            side = shown[name]
            assert "".join(one["text"] for one in side["pieces"]) == answer.prompts[arm]
            logged = dict(answer.options[arm])[f" {answer.target}"]
            assert side["log_probability"] == pytest.approx(logged, abs=1e-3)
        stimulus = [p["text"] for p in shown["arm_side"]["pieces"] if p["role"] == "stimulus"]
        assert " ".join(stimulus) == " ".join(shown["stimulus_text"].split())


def test_flips_are_the_largest_changes_of_the_target(run: Path, attributed: dict[str, Any]) -> None:
    changes = [
        abs(one["arm_side"]["log_probability"] - one["control"]["log_probability"])
        for one in attributed["shown"]
    ]
    assert changes == sorted(changes, reverse=True)
    assert len({one["doc_id"] for one in attributed["shown"]}) == 2
    for one in attributed["shown"]:
        before, after = one["control"]["score"], one["arm_side"]["score"]
        assert (before, after) == ((1, 0) if one["kind"] == "broke" else (0, 1))
    (group,) = sampled_groups(read_runs([run]).scores, None, 0)
    flips, n = strongest_flips(
        [group], 10**6, np.random.default_rng(0), lambda pairs: pytest.fail()
    )
    scores = group.head.scores
    stimuli = [i for i, arm in enumerate(group.head.arms) if arm.kind == "stimulus"]
    assert (
        n == len(flips) == int((scores[:, stimuli] != scores[:, :1]).sum()) == attributed["n_flips"]
    )
    assert attributed["shown"][0]["doc_id"] == group.head.doc_ids[flips[0].row]


def test_where_a_flip_cannot_be_shown_the_next_takes_its_place(run: Path) -> None:
    (group,) = sampled_groups(read_runs([run]).scores, None, 0)

    def chosen(can_be_shown: Any = lambda flip: True) -> list[tuple[int, str]]:
        rng = np.random.default_rng(0)
        flips, _ = strongest_flips([group], 3, rng, lambda pairs: pytest.fail(), can_be_shown)
        return [(flip.row, flip.arm.id) for flip in flips]

    first, *others = chosen()
    without = chosen(lambda flip: (flip.row, flip.arm.id) != first)
    assert len(without) == 3 and first not in without and set(others) <= set(without)


def test_leaving_out_finds_the_planted_stimulus_where_it_acts(run: Path) -> None:
    table = pd.read_parquet(run / "posthoc" / "attribution.parquet")
    (group,) = sampled_groups(read_runs([run]).scores, 8, 0)
    plan = default_plan()
    sizes: dict[bool, list[float]] = {True: [], False: []}
    for question in group.questions():
        for arm in (ACTS, INERT):
            own = table[
                (table.doc_id == question.doc_id)
                & (table.arm == arm)
                & (table.method == "leave-one-out")
                & (table.kind == "sampled")
            ]
            acts = question_class(question) in plan.acts_on.get(arm, frozenset())
            sizes[acts].append(float(own[own.role == "stimulus"].score.abs().max()))
    assert sizes[True] and sizes[False]
    assert np.median(sizes[True]) > 1 > 10 * np.median(sizes[False])


def test_the_table_holds_every_piece_once_per_method(run: Path, attributed: dict[str, Any]) -> None:
    table = pd.read_parquet(run / "posthoc" / "attribution.parquet")
    sampled = table[table.kind == "sampled"]
    assert set(sampled.method) == set(METHODS.split(","))
    keys = ["doc_id", "arm", "method", "piece"]
    assert not sampled.duplicated(keys).any()
    assert sampled.groupby(["doc_id", "arm"], observed=True).ngroups == 24
    words = sampled[(sampled.role == "stimulus") & (sampled.method == "leave-one-out")]
    (group,) = attributed["groups"]
    (row,) = [
        one
        for one in group["words"]
        if (one["arm"], one["position"], one["method"]) == (ACTS, 0, "leave-one-out")
    ]
    first = words[words.arm == ACTS].sort_values("piece").groupby("doc_id").first()
    assert row["contribution"][0] == pytest.approx(first.score.mean())
    assert row["word"] == first.text.iloc[0] and row["n"] == 8


def test_the_same_seed_gives_the_same_numbers(run: Path, attributed: dict[str, Any]) -> None:
    again = invoked(run, "--questions", "8", "--flips", "2", "--methods", METHODS)
    assert again == attributed
    other = invoked(run, "--questions", "8", "--flips", "0", "--methods", METHODS, "--seed", "1")
    assert other["groups"] != attributed["groups"]


def test_a_placebo_s_baseline_is_asked_of_the_stimulus_alone(run: Path) -> None:
    arguments = ("--questions", "2", "--flips", "1", "--randomised-prompts", "1")
    found = invoked(run, *arguments, "--methods", "integrated-gradients", "--baseline", "placebo")
    Attribution.model_validate(found)
    assert found["baseline"] == "placebo" and not found["groups"][0]["shares"]
    (shown,) = found["shown"]
    for piece in shown["arm_side"]["pieces"]:
        has_score = piece["scores"]["integrated-gradients"] is not None
        assert has_score == (piece["role"] == "stimulus")
    assert shown["control"]["pieces"][0]["scores"] == {}


def test_a_placebo_s_baseline_stands_beside_other_methods(run: Path) -> None:
    methods = "gradient-x-input,integrated-gradients"
    few = ("--questions", "1", "--flips", "0", "--no-randomised", "--arms", "ea14,neutral-5")
    found = invoked(run, *few, "--methods", methods, "--baseline", "placebo")
    Attribution.model_validate(found)


def test_integrals_are_taken_for_one_arm_of_each_family_unless_all_are_wanted(run: Path) -> None:
    arguments = ("--questions", "1", "--flips", "0", "--no-randomised")
    methods = ("--methods", "integrated-gradients,leave-one-out")
    few = invoked(run, *arguments, *methods)
    every = invoked(run, *arguments, *methods, "--integrated-arms", "0")
    # Without flips some of the sampled prompts are shown; they are not counted here.
    assert few["convergence"]["n"] == 2 and every["convergence"]["n"] == 3
    assert few["randomised"] == [] and few["n_flips"] > 0


def test_arms_and_tasks_choose(run: Path) -> None:
    found = invoked(
        run, "--arms", ACTS, "--tasks", "calibration", "--methods", "leave-one-out",
        "--questions", "2", "--flips", "0", "--no-randomised",
    )  # fmt: skip
    assert {row["arm"] for row in found["groups"][0]["words"]} == {ACTS}


def test_what_a_run_has_not_is_told(run: Path, tmp_path: Path) -> None:
    import shutil

    bare = Path(shutil.copytree(run, tmp_path / "run", ignore=lambda *_: ["posthoc"]))
    assert "ea14" in str(refused(bare, "--arms", "ea1x"))
    assert "task" in str(refused(bare, "--tasks", "navigate"))
    assert "gradient-norm" in str(refused(bare, "--methods", "gradient-nrom"))
    assert "control" in str(refused(bare, "--arms", "control"))
    for samples in bare.rglob("samples_*"):
        samples.unlink()
    assert "samples" in str(refused(bare))


def test_a_run_of_an_api_model_is_explained(tmp_path: Path) -> None:
    made = made_run(
        tmp_path / "run",
        config={"model": "openai-chat-completions", "model_args": {"model": "gpt-x"}},
    )
    assert "weights" in str(refused(made))


def test_another_model_is_refused_unless_forced_and_stamped(
    run: Path, tmp_path: Path, stories_model: Path
) -> None:
    import shutil

    bare = Path(shutil.copytree(run, tmp_path / "run", ignore=lambda *_: ["posthoc"]))
    assert "--force" in str(refused(bare, "--model", str(stories_model)))
    found = invoked(
        bare, "--model", str(stories_model), "--force", "--methods", "leave-one-out",
        "--questions", "2", "--flips", "0", "--no-randomised",
    )  # fmt: skip
    assert not found["is_same_model"] and found["forced"]


def test_no_placebo_is_no_baseline(tmp_path: Path) -> None:
    made = demo_run(tmp_path / "run", stimuli=[ACTS], placebos=0, questions=2)
    assert "placebo" in str(refused(made, "--baseline", "placebo"))


def test_a_run_without_flips_shows_sampled_prompts(tmp_path: Path) -> None:
    made = made_run(
        tmp_path / "run",
        questions=[f"Is it {i}?" for i in range(6)],
        config={"model": "emo-hf", "model_args": {"pretrained": "emo-demo"}},
    )
    found = invoked(
        made, "--methods", "leave-one-out", "--questions", "2", "--no-randomised", "--force"
    )
    assert found["n_flips"] == 0 and {one["kind"] for one in found["shown"]} == {"chosen"}
    assert found["shown"][0]["target"] == "Yes"


@pytest.mark.parametrize(
    ("prompt", "settings", "continuation"),
    [
        ("Q: a\nA:", {}, " Yes"),
        ("Q: a\nA: ", {}, "Yes"),
        ("Q: a\nA:\n", {}, "Yes"),
        ("<user>Q: a\n<assistant>", {"chat_template_sha": "f" * 64}, "Yes"),
    ],
)
def test_a_generated_answer_s_target_continues_the_prompt(
    prompt: str, settings: dict[str, Any], continuation: str, tmp_path: Path
) -> None:
    made = made_run(
        tmp_path / "run", questions=["a"], prompt=lambda question: prompt, results=settings
    )
    (group,) = sampled_groups([s for s in read_runs([made]).scores if s.primary], 1, 0)
    (question,) = group.questions()
    assert question.target("control") == continuation
    assert np.isnan(question.logged("control"))


def test_the_target_is_the_option_that_says_it_else_the_one_it_numbers() -> None:
    assert target_number([" True", " False"], "False") == 1
    assert target_number([" True", " False"], "0") == 0
    assert target_number([" 1", " 0"], "0") == 1
    assert target_number([" True", " False"], "maybe") is None


def test_work_counts_integrals_as_many_prompts(run: Path) -> None:
    groups = sampled_groups(read_runs([run]).scores, 4, 0)
    light = Plan(("leave-one-out",), n_flips=0, n_randomised=0).total_work(groups)
    heavy = Plan(("integrated-gradients",), n_flips=0, n_randomised=0).total_work(groups)
    assert light == 12 and heavy > 10 * light
