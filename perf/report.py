"""How long a report over many runs takes: prints one JSON line.

    python perf/report.py --data ../shared/data/bbh/bbh

Run folders as lm-eval writes them are made first: BBH's zero-shot prompts of 27 subtasks x 250
questions x 26 arms, answered by 5 invented models (877,500 graded answers, two filters). `emo
report` then runs over them twice with an empty store. `json_s` is the time that `json` alone takes
to parse the same samples, measured in the same run, so that machines can be compared; `ratio` is
`first_s` by it. `peak_mb` is the resident memory of the whole process tree, pages that processes
share counted in each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
N_SUBTASKS = 27
QUESTIONS = 250
MODELS = 5
EMO = {"placebos": 2}
FILTERS = ("strict-match", "flexible-extract")
DATE = "2026-01-0{}T00-00-00.000000"
REPORT = "from emo_harness.cli.main import main; main()"
READ = (
    "import sys; from pathlib import Path; from emo_harness.runs import read_runs; "
    "print(len(read_runs([Path(sys.argv[1])]).scores))"
)
REASONS = (
    "Let me look at the question step by step.",
    "The statements have to be taken in their order.",
    "First, consider what is given, then what is asked.",
    "One option can be ruled out at once.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of BBH's JSON files")
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="per subtask")
    parser.add_argument("--subtasks", type=int, default=N_SUBTASKS)
    parser.add_argument("--keep", type=Path, help="make the run folders here, or use them again")
    parser.add_argument("--read-only", action="store_true", help="read runs, make no report")
    parser.add_argument(
        "--make-only", action="store_true", help="make run folders, measure nothing"
    )
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="emo-perf-") as scratch:
        runs = arguments.keep or Path(scratch) / "runs"
        if not any(runs.rglob("results_*.json")):
            make_runs(runs, arguments, Path(scratch))
        if not arguments.make_only:
            print(json.dumps(measured(runs, Path(scratch), arguments.read_only)))


def measured(runs: Path, scratch: Path, read_only: bool) -> dict[str, Any]:
    samples = sorted(runs.rglob("samples_*.jsonl"))
    out = scratch / "report"
    program = [READ, str(runs)] if read_only else [REPORT, "report", str(runs), "--out", str(out)]
    environment = {**os.environ, "EMO_HARNESS_CACHE": str(scratch / "store")}
    first_s, first_mb = watched(program, environment)
    second_s, second_mb = watched(program, environment)
    started = time.perf_counter()
    answers = sum(n_answers(path) for path in samples)
    json_s = time.perf_counter() - started
    page = out / "report.html"
    return {
        "what": "reading" if read_only else "report",
        "bytes": sum(path.stat().st_size for path in samples),
        "answers": answers,
        "first_s": round(first_s, 2),
        "second_s": round(second_s, 2),
        "peak_mb": round(first_mb),
        "second_peak_mb": round(second_mb),
        "html_bytes": page.stat().st_size if page.is_file() else None,
        "json_s": round(json_s, 2),
        "ratio": round(first_s / json_s, 2),
    }


def n_answers(path: Path) -> int:
    """Parse a whole samples file with `json`; responses of one filter."""
    with path.open("rb") as lines:
        samples = (json.loads(line) for line in lines)
        return sum(len(s["resps"]) for s in samples if s["filter"] == FILTERS[0])


def watched(program: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of a Python program and all its processes."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", *program], env=environment, stdout=subprocess.DEVNULL
    )
    peak_mb = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak_mb[0] = max(peak_mb[0], sum(map(resident_mb, tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"{program} ended with {status}")
    return seconds, peak_mb[0]


def tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [c for t in threads for c in (t / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    rows = [row.split() for row in status.splitlines() if row.startswith("VmRSS:")]
    return int(rows[0][1]) / 1024 if rows else 0.0


@dataclass(frozen=True)
class Asked:
    """One question under all arms, written once for all models."""

    doc_id: int
    head: str
    target: str
    hashes: dict[str, str]


def make_runs(folder: Path, arguments: argparse.Namespace, scratch: Path) -> None:
    from emo_harness.lm_tasks.expand import declarations

    subtasks = next(d for d in declarations() if d["benchmark"] == "bbh")["subtasks"]
    subtasks = subtasks[: arguments.subtasks]
    data = scratch / "data"
    data.mkdir()
    for subtask in subtasks:
        rows = json.loads((arguments.data / f"{subtask}.json").read_text("utf-8"))["examples"]
        padded = [rows[i % len(rows)] for i in range(arguments.questions)]
        (data / f"{subtask}.json").write_text(json.dumps({"examples": padded}), encoding="utf-8")
    models = [f"perf/model-{i}" for i in range(1, arguments.models + 1)]
    headers: dict[str, dict[str, Any]] = {model: {} for model in models}
    for number, subtask in enumerate(subtasks):
        print(f"making {subtask}", file=sys.stderr)
        make_subtask(folder, f"emo_bbh_attack_{subtask}", data, number, headers)
    for index, model in enumerate(models):
        write_results(folder, model, index, headers[model])


def make_subtask(
    folder: Path, name: str, data: Path, number: int, headers: dict[str, dict[str, Any]]
) -> None:
    import yaml

    from emo_harness.lm_tasks import EmotionTask
    from emo_harness.lm_tasks.expand import expanded

    text = next(text for path, text in expanded() if Path(path).stem == name)
    config = yaml.safe_load(text.split("\n", 1)[1])
    config["metadata"] = {**config["metadata"], "emo": {**EMO, "data_dir": str(data)}}
    task = EmotionTask(config=config)
    task.set_fewshot_seed(1234)
    task.build_all_requests(rank=0, world_size=1)
    questions = [as_asked(doc_id, requests) for doc_id, requests in by_question(task)]
    logged = json.loads(json.dumps(task.dump_config(), default=str))
    for index, (model, tasks) in enumerate(headers.items()):
        rng = np.random.default_rng([20, number, index])
        path = place(folder, model) / f"samples_{name}_{DATE.format(index + 1)}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        answers = answered(task.arms, [q.target for q in questions], number, index, rng)
        with path.open("w", encoding="utf-8") as file:
            for filter_name in FILTERS:
                for question, (texts, parsed) in zip(questions, answers, strict=True):
                    line = as_line(task.arms, question, texts, parsed, filter_name)
                    file.write(line)
        tasks[name] = {"config": logged, "n": len(questions)}


def by_question(task: Any) -> Iterator[tuple[int, list[Any]]]:
    n_arms = len(task.arms)
    for start in range(0, len(task.instances), n_arms):
        yield task.instances[start].doc_id, task.instances[start : start + n_arms]


def as_asked(doc_id: int, requests: list[Any]) -> Asked:
    doc, target = requests[0].doc, requests[0].doc["target"]
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(request.arguments)}
        for i, request in enumerate(requests)
    }
    head = {"doc_id": doc_id, "doc": doc, "target": target, "arguments": arguments}
    hashes = {
        "doc_hash": sha256(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha256(requests[0].arguments[0]),
        "target_hash": sha256(target),
    }
    return Asked(doc_id, json.dumps(head, ensure_ascii=False)[:-1], target, hashes)


def answered(
    arms: Any, targets: list[str], subtask: int, model: int, rng: np.random.Generator
) -> list[tuple[list[str], list[str]]]:
    """By question: each arm's answer, and what the flexible filter makes of it.

    A question has a difficulty that all models and arms share, a stimulus an effect of its own.
    """
    shape = (len(targets), len(arms))
    difficulty = np.random.default_rng([20, subtask]).normal(0, 1.2, (len(targets), 1))
    kinds = np.array([arm.kind == "stimulus" for arm in arms])
    effect = np.where(kinds, np.random.default_rng([20]).normal(-0.12, 0.08, len(arms)), 0)
    ability = 0.6 - 0.35 * model + 0.1 * (subtask % 5)
    right = ability - difficulty + effect * (1 + model / 2) + rng.normal(0, 0.35, shape) > 0
    style = rng.choice(4, size=shape, p=[0.45, 0.3, 0.2, 0.05])
    pool = sorted(set(targets))
    wrong = rng.integers(0, len(pool), shape)
    reasons = rng.integers(0, len(REASONS), shape)
    answers = []
    for i, target in enumerate(targets):
        texts, parsed = [], []
        for j in range(len(arms)):
            other = pool[wrong[i, j]]
            says = target if right[i, j] else other if other != target else "none of these"
            text, found = worded(says, int(style[i, j]), REASONS[reasons[i, j]])
            texts.append(text)
            parsed.append(found)
        answers.append((texts, parsed))
    return answers


def worded(says: str, style: int, reason: str) -> tuple[str, str]:
    if style == 0:
        return f" {says}", says
    if style == 1:
        return f" The answer is {says}.", says
    if style == 2:
        return f" {' '.join([reason, *REASONS, *REASONS, *REASONS])} So the answer is {says}.", says
    return " I'm sorry, but I cannot answer that.", "[invalid]"


def as_line(
    arms: Any, question: Asked, texts: list[str], parsed: list[str], filter_name: str
) -> str:
    from emo_harness.lm_tasks.scores import QuestionScores

    kept = texts if filter_name == FILTERS[0] else parsed
    right = [float(text.strip().lower() == question.target.lower()) for text in kept]
    by_arm = {arm.id: score for arm, score in zip(arms, right, strict=True)}
    numbers: dict[str, Any] = dict(QuestionScores(arms, by_arm, "attack").named("exact_match"))
    numbers["exact_match_by_arm"] = by_arm
    numbers["unparsed"] = {
        arm.id: int(text == "[invalid]") for arm, text in zip(arms, kept, strict=True)
    }
    tail = {
        "resps": [[text] for text in texts],
        "filtered_resps": kept,
        "filter": filter_name,
        "metrics": list(numbers),
        **question.hashes,
        **numbers,
    }
    return f"{question.head}, {json.dumps(tail, ensure_ascii=False)[1:]}\n"


def write_results(folder: Path, model: str, index: int, tasks: dict[str, Any]) -> None:
    """Everything that is read of lm-eval's results file, under its own names."""
    results = {
        "results": {name: {"alias": name} for name in tasks},
        "configs": {name: facts["config"] for name, facts in tasks.items()},
        "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": {
            name: {"original": facts["n"], "effective": facts["n"]} for name, facts in tasks.items()
        },
        "config": {
            "model": "hf",
            "model_args": {"pretrained": model},
            "model_dtype": "torch.bfloat16",
            "model_revision": "main",
            "model_sha": sha256(model)[:40],
            "gen_kwargs": {},
            "random_seed": 0,
            "numpy_seed": 1234,
            "torch_seed": 1234,
            "fewshot_seed": 1234,
        },
        "git_hash": None,
        "pretty_env_info": "PyTorch version: 2.15.0",
        "transformers_version": "5.23.0",
        "lm_eval_version": "0.4.13",
        "max_length": 8192,
        "task_hashes": {},
        "model_source": "hf",
        "model_name": model,
        "system_instruction": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": "1234.5",
    }
    path = place(folder, model) / f"results_{DATE.format(index + 1)}.json"
    path.write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")


def place(folder: Path, model: str) -> Path:
    return folder / model.replace("/", "__")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
