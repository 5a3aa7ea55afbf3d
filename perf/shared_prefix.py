"""What computing shared prefixes once saves: prints one JSON line.

    python perf/shared_prefix.py --data ../shared/data

`emo-hf` and lm-eval's `hf` answer the same requests: real BBH questions under 26 arms (control, two
neutral placebos, the self-check, 22 attacks), by a Llama of about 20 million parameters with random
weights in float32. Each side has a process of its own, is warmed with the first question, and `hf`
has the best of its batch sizes 1, 8 and 32, tried on that question. Times are those of
`loglikelihood` or `generate_until`, tokenising included. `ratio` is hf's seconds by emo-hf's,
`peak_ratio` emo-hf's peak resident memory by hf's, both processes whole. `few_shot` prompts hold
three worked examples (navigate's chains of thought). Beside these scenarios, with three questions
each, stand other placements than `suffix`, a subtask with lettered options, and bfloat16.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BATCH_SIZES = (1, 8, 32)
VOCABULARY = 8192
PLACEBOS = 2
THREADS = 2
# Questions of the scenarios that stand beside the main ones.
BESIDE = 3
# Characters of each file that the tokenizer is trained on.
TEXT = 100_000
SPECIAL = ("<s>", "</s>")


@dataclass(frozen=True)
class Scenario:
    """One kind of request.

    Attributes:
        asks: "options" for log-likelihoods over answer options, "text" for generations.
        few_shot: whether three worked examples stand before the question.
        max_tokens: of a generation.
    """

    name: str
    asks: str
    few_shot: bool
    max_tokens: int = 0
    placement: str = "suffix"
    subtask: str = "navigate"
    dtype: str = "float32"


def scenarios() -> list[tuple[Scenario, bool]]:
    """What is compared, and whether with all questions (or with a few, to stand beside)."""
    main = [
        Scenario("few_shot_options", "options", True),
        Scenario("zero_shot_options", "options", False),
        Scenario("zero_shot_16", "text", False, 16),
        Scenario("few_shot_16", "text", True, 16),
        Scenario("few_shot_128", "text", True, 128),
    ]
    beside = [
        Scenario(f"{shots}_options_{place}", "options", shots == "few_shot", placement=place)
        for place in ("instruction", "prefix")
        for shots in ("few_shot", "zero_shot")
    ]
    lettered = "logical_deduction_three_objects"
    beside += [
        Scenario("few_shot_options_lettered", "options", True, subtask=lettered),
        Scenario("zero_shot_options_lettered", "options", False, subtask=lettered),
        Scenario("bfloat16", "options", False, dtype="bfloat16"),
    ]
    return [*((one, True) for one in main), *((one, False) for one in beside)]


def make_model(folder: Path, data: Path) -> None:
    """A random Llama, and a tokenizer that has seen English, but no BBH."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    files = sorted(data.glob("instruction_induction/**/*.json"))
    texts = [path.read_text("utf-8")[:TEXT] for path in files]
    bpe.train_from_iterator(texts, VOCABULARY, special_tokens=[*SPECIAL], show_progress=False)
    PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[1],
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def requests_of(scenario: Scenario, data: Path, n_questions: int) -> list[Any]:
    """lm-eval's requests for the first questions of a subtask."""
    from lm_eval.api.instance import Instance

    from emo_harness.benchmarks import AnswerOptions
    from tests.conftest import build_task

    mode = "cot_" if scenario.few_shot else ""
    task = build_task(
        f"emo_bbh_{mode}attack_{scenario.subtask}",
        placebos=PLACEBOS,
        placement=scenario.placement,
        data_dir=str(data / "bbh" / "bbh"),
    )
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=n_questions, rank=0, world_size=1)
    if scenario.asks == "text":
        for request in task.instances:
            request.arguments[1]["max_gen_toks"] = scenario.max_tokens
        return task.instances
    options = AnswerOptions(list(task.dataset[task.config.test_split]))
    return [
        Instance(
            request_type="loglikelihood",
            doc=request.doc,
            arguments=(request.args[0], f" {option}"),
            idx=0,
            metadata=(request.task_name, request.doc_id, 1),
        )
        for request in task.instances
        for option in options(request.doc)
    ]


def answered(
    side: str, model: Path, scenario: Scenario, data: Path, n_questions: int, batch_size: int
) -> dict[str, Any]:
    """Answer a scenario's requests; how long that took, and what was answered."""
    import torch
    from lm_eval.models.huggingface import HFLM

    from emo_harness.lm_models.shared_prefix import SharedPrefixLM

    torch.set_num_threads(THREADS)
    kind = SharedPrefixLM if side == "emo-hf" else HFLM
    lm = kind(pretrained=str(model), device="cpu", dtype=scenario.dtype, batch_size=batch_size)
    ask = lm.loglikelihood if scenario.asks == "options" else lm.generate_until
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    warm = requests_of(scenario, data, 1)
    ask(warm, disable_tqdm=True)
    requests = requests_of(scenario, data, n_questions)
    if side == "emo-hf":
        lm.sharing = lm._engine.sharing = type(lm.sharing)()
    started = time.perf_counter()
    answers = ask(requests, disable_tqdm=True)
    found["seconds"] = time.perf_counter() - started
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["answers"] = answers
    found["requests"] = len(requests)
    found["prompts"] = [request.args[0] for request in requests]
    if side == "emo-hf":
        found["sharing"] = lm.sharing.as_json()
    return found


def in_process(**job: Any) -> dict[str, Any]:
    """`answered` in a process of its own."""
    scenario = asdict(job.pop("scenario"))
    spec = json.dumps({**job, "scenario": scenario}, default=str)
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
        subprocess.run(
            [sys.executable, __file__, "--worker", spec, "--out", out.name],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if "EMO_PERF_SHOW" not in os.environ else None,
        )
        return json.loads(Path(out.name).read_text("utf-8"))


def compared(scenario: Scenario, model: Path, data: Path, n_questions: int) -> dict[str, Any]:
    """Both sides on one scenario."""
    shared = {"model": model, "scenario": scenario, "data": data}
    trials = {
        size: in_process(side="hf", n_questions=1, batch_size=size, **shared)["seconds"]
        for size in BATCH_SIZES
    }
    best = min(trials, key=trials.__getitem__)
    ours = in_process(side="emo-hf", n_questions=n_questions, batch_size=1, **shared)
    theirs = in_process(side="hf", n_questions=n_questions, batch_size=best, **shared)
    sharing = ours["sharing"]
    other = sharing["total_s"] - sharing["model_s"] - sharing["tokenizing_s"]
    line = {
        "questions": n_questions,
        "requests": ours["requests"],
        "hf_batch_size": best,
        "hf_s": round(theirs["seconds"], 2),
        "emo_hf_s": round(ours["seconds"], 2),
        "ratio": round(theirs["seconds"] / ours["seconds"], 2),
        "distinct_tokens": sharing["distinct_tokens"],
        "computed_tokens": sharing["computed_tokens"],
        "naive_tokens": sharing["naive_tokens"],
        "model_s": sharing["model_s"],
        "tokenizing_s": sharing["tokenizing_s"],
        "else_share": round(other / sharing["total_s"], 4),
        "hf_peak_mb": round(theirs["peak_mb"]),
        "emo_hf_peak_mb": round(ours["peak_mb"]),
        "peak_ratio": round(ours["peak_mb"] / theirs["peak_mb"], 3),
        **differing(ours["answers"], theirs["answers"]),
    }
    if scenario.dtype != "float32":
        one, many = (
            in_process(side="hf", n_questions=n_questions, batch_size=size, **shared)["answers"]
            for size in (1, 32)
        )
        line["differing_from_batch_1"] = {
            "emo_hf": share_differing(ours["answers"], one, ours["prompts"]),
            "hf_batch_32": share_differing(many, one, ours["prompts"]),
        }
    return line


def differing(ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    if isinstance(ours[0], str):
        return {"differing": sum(a != b for a, b in zip(ours, theirs, strict=True))}
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "largest_difference": max(abs(a[0] - b[0]) for a, b in pairs),
        "differing": sum(a[1] != b[1] for a, b in pairs),
    }


def share_differing(some: list[Any], reference: list[Any], prompts: list[str]) -> dict[str, float]:
    """The share of prompts with another best option, and of options that differ otherwise."""

    def best(answers: list[Any]) -> dict[str, int]:
        chosen: dict[str, int] = {}
        for place, prompt in enumerate(prompts):
            before = chosen.get(prompt)
            if before is None or answers[place][0] > answers[before][0]:
                chosen[prompt] = place
        return chosen

    ours, theirs = best(some), best(reference)
    pairs = list(zip(some, reference, strict=True))
    return {
        "best_option": round(sum(ours[p] != theirs[p] for p in ours) / len(ours), 4),
        "is_greedy": round(sum(a[1] != b[1] for a, b in pairs) / len(pairs), 4),
        "log_probability": round(sum(a[0] != b[0] for a, b in pairs) / len(pairs), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="published data"
    )
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[], help="names of scenarios")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        job = json.loads(asked.worker)
        job["scenario"] = Scenario(**job["scenario"])
        for name in ("model", "data"):
            job[name] = Path(job[name])
        asked.out.write_text(json.dumps(answered(**job)), encoding="utf-8")
        return
    if not (asked.data / "bbh" / "bbh").is_dir():
        print(json.dumps({"benchmark": "shared_prefix", "skipped": f"no BBH in {asked.data}"}))
        return
    import torch
    import transformers

    line: dict[str, Any] = {
        "benchmark": "shared_prefix",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": "cpu",
        "questions": asked.questions,
    }
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), asked.data)
        for scenario, is_main in scenarios():
            if not asked.only or scenario.name in asked.only:
                n_questions = asked.questions if is_main else min(BESIDE, asked.questions)
                found = compared(scenario, Path(folder), asked.data, n_questions)
                print(scenario.name, found, file=sys.stderr, flush=True)
                line[scenario.name] = found
    print(json.dumps(line))


if __name__ == "__main__":
    main()
