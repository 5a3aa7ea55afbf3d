"""Train the demo language model: `python -m emo_harness.demo.train_lm --out FOLDER`.

Control questions come first; later rows ask one question under several arms. Besides the answers,
the model's middle layers are asked for running results (the value of the expression so far, ...) by
linear heads that are thrown away, which lets a small model learn to evaluate within minutes.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from emo_harness.benchmarks.calibration import calibration_questions
from emo_harness.demo.corpus import CHANNELS, Question
from emo_harness.demo.examples import INVERTED, Batch, ExampleMaker, Mixture, Targets, as_index
from emo_harness.demo.packing import PackedBatch
from emo_harness.demo.planted import Plan, default_plan, demo_stimuli
from emo_harness.demo.scoring import choose
from emo_harness.demo.small_llama import small_llama
from emo_harness.demo.tokenizer import CONTEXT_TOKENS, as_transformers, train_tokenizer

DEFAULT_SEED = 1
ROWS_PER_STEP = 32
PARTS_PER_STEP = 2
WORKERS = 2
WARM_UP_STEPS = 80
RUNNING_LAYER = 4
INVERTED_LAYER = 5
SENTENCE_WEIGHT = 0.1
RUNNING_WEIGHT = 0.3
CHECK_EVERY = 200
VALIDATION_SEED = 21


@dataclass(frozen=True)
class Stage:
    """A part of training with its own optimizer.

    The learning rate follows a cosine from `peak_learning_rate` down over `cosine_steps`, of which
    the stage does the first `steps`; the first `control_steps` go without stimuli.
    """

    mixture: Mixture
    steps: int
    control_steps: int
    cosine_steps: int
    peak_learning_rate: float
    inverted_weight: float


STAGES = (
    Stage(
        Mixture((0.78, 0.17, 0.05), 0.2, n_planted=5, n_random=2, n_inert=1, n_unshared=4),
        steps=1400,
        control_steps=720,
        cosine_steps=2400,
        peak_learning_rate=2.5e-3,
        inverted_weight=0.3,
    ),
    Stage(
        Mixture((0.87, 0.10, 0.03), 0.12, n_planted=8, n_random=2, n_inert=2, n_unshared=5),
        steps=1200,
        control_steps=0,
        cosine_steps=1200,
        peak_learning_rate=2e-3,
        inverted_weight=1.0,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for model and tokenizer")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    arguments = parser.parse_args()
    train(arguments.out, seed=arguments.seed)


def train(out: Path, *, seed: int = DEFAULT_SEED, stages: Sequence[Stage] = STAGES) -> None:
    """Train from scratch; every 200 steps the Hugging Face folder is saved and checked.

    A stage starts from the weights that the one before it saved, in half precision.
    """
    plan = default_plan()
    maker = ExampleMaker(train_tokenizer(seed), plan)
    tokenizer = as_transformers(maker.tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(tokenizer)
        for number, stage in enumerate(stages, start=1):
            if number > 1:
                torch.manual_seed(seed + number)
                model = LlamaForCausalLM.from_pretrained(out).train()
            for step in train_stage(model, maker, stage, (seed, number)):
                if step % CHECK_EVERY == 0 or step == stage.steps:
                    save(model, tokenizer, out)
                    agreement = json.dumps(check(model, tokenizer, plan))
                    tqdm.write(f"stage {number}, step {step}: {agreement}")


def train_stage(
    model: LlamaForCausalLM, maker: ExampleMaker, stage: Stage, seed: tuple[int, int]
) -> Iterator[int]:
    """Train in place; yields the number of steps done after each step."""
    heads = nn.ModuleDict(
        {
            name: nn.Linear(model.config.hidden_size, size)
            for name, size in {**CHANNELS, INVERTED: 2}.items()
        }
    )
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    weights = {"answer": 1.0, "sentence": SENTENCE_WEIGHT, INVERTED: stage.inverted_weight}
    workers = ThreadPoolExecutor(WORKERS)
    progress = tqdm(range(stage.steps), desc=f"stage {seed[1]}", mininterval=5)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = stage.peak_learning_rate * learning_rate_share(step, stage.cosine_steps)
        batches = maker.batches(
            np.random.default_rng([*seed, step]),
            ROWS_PER_STEP,
            PARTS_PER_STEP,
            stage.mixture,
            with_stimuli=step >= stage.control_steps,
        )
        counts = prediction_counts(batches)
        part = partial(part_gradients, model, heads, weights, counts)
        parts = list(workers.map(part, batches))
        for parameter, *gradients in zip(parameters, *(p[0] for p in parts), strict=True):
            parameter.grad = torch.stack(gradients).sum(0)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 25 == 0:
            losses = sum((Counter(p[1]) for p in parts), Counter())
            progress.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})
        yield step + 1


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of 1.4 million parameters."""
    return small_llama(
        tokenizer,
        hidden_size=128,
        intermediate_size=352,
        n_layers=6,
        n_heads=4,
        n_kv_heads=2,
        context_tokens=CONTEXT_TOKENS,
    )


def prediction_counts(batches: Sequence[Batch]) -> Counter[str]:
    """How many predictions of each kind the parts of a step hold together."""
    counts: Counter[str] = Counter()
    for batch in batches:
        counts["answer"] += len(batch.answers.values)
        counts["sentence"] += len(batch.sentences.values)
        counts.update({channel: len(t.values) for channel, t in batch.running.items()})
    return counts


def part_gradients(
    model: LlamaForCausalLM,
    heads: nn.ModuleDict,
    weights: Mapping[str, float],
    counts: Counter[str],
    batch: Batch,
) -> tuple[list[torch.Tensor], dict[str, float]]:
    """A part's share of the step's gradients (parameters of model, then heads) and of its losses.

    Parts of a step run in threads with one core each: on a machine shared with other work that is
    several times faster than splitting every small matrix product over the cores.
    """
    torch.set_num_threads(1)
    losses = part_losses(model, heads, batch, counts)
    total = torch.stack(
        [weights.get(name, RUNNING_WEIGHT) * loss for name, loss in losses.items()]
    ).sum()
    parameters = [*model.parameters(), *heads.parameters()]
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ], {name: loss.item() for name, loss in losses.items()}


def part_losses(
    model: LlamaForCausalLM, heads: nn.ModuleDict, batch: Batch, counts: Counter[str]
) -> dict[str, torch.Tensor]:
    """The part's contribution to the step's mean loss per prediction, in nats, by kind."""
    states = hidden_states(model, batch.packed)
    kinds: list[tuple[str, nn.Module, torch.Tensor, Targets]] = [
        ("answer", model.lm_head, states[-1], batch.answers),
        ("sentence", model.lm_head, states[-1], batch.sentences),
    ]
    for channel, targets in batch.running.items():
        layer = INVERTED_LAYER if channel == INVERTED else RUNNING_LAYER
        kinds.append((channel, heads[channel], states[layer], targets))
    losses = {}
    for name, head, hidden, targets in kinds:
        if targets.values:
            row, node, value = as_index(targets)
            total = cross_entropy(head(hidden[row, node]), value, reduction="sum")
            losses[name] = total / counts[name]
    return losses


def hidden_states(model: LlamaForCausalLM, packed: PackedBatch) -> list[torch.Tensor]:
    """States (n_rows, n_nodes, hidden_size) after 0, 1, ... layers; the last one is normed."""
    decoder = model.model
    states = [decoder.embed_tokens(packed.token_ids)]
    rotation = decoder.rotary_emb(states[0], packed.depths)
    for layer in decoder.layers:
        states.append(
            layer(
                states[-1],
                attention_mask=packed.visible,
                position_ids=packed.depths,
                position_embeddings=rotation,
            )
        )
    states[-1] = decoder.norm(states[-1])
    return states


def learning_rate_share(step: int, cosine_steps: int) -> float:
    """Linear warm-up to 1, then a cosine down to 0.02 at `cosine_steps`."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / max(1, cosine_steps - WARM_UP_STEPS)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Half-precision weights that load as float32: `dtype` in the config says so."""
    state = {name: value.to(torch.float16) for name, value in model.state_dict().items()}
    model.save_pretrained(out, state_dict=state)
    config_path = out / "config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n")
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(out)


def check(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    plan: Plan,
    n: int = 100,
    placement: str = "suffix",
) -> dict[str, float]:
    """Agreement with the designed answers on `n` reserved questions, by kind of arm."""
    questions = calibration_questions(n, seed=VALIDATION_SEED)
    stimuli = [s for s in demo_stimuli() if s.default]
    arms = [None, *stimuli]
    asked = [Question("boolean_expressions", q["input"], q["target"]) for q in questions]
    model.eval()
    choice = choose(
        model,
        tokenizer,
        [[q.prompt(s.text if s else None, placement) for s in arms] for q in asked],
    )
    model.train()
    agrees: dict[str, list[bool]] = {}
    for row, question in enumerate(questions):
        for column, stimulus in enumerate(arms):
            inverted = plan.is_inverted(
                question["question_class"], stimulus.id if stimulus else None
            )
            correct = choice[row, column] == (question["target"] == "False")
            family = stimulus.family if stimulus else "control"
            agrees.setdefault(family, []).append(bool(correct) != inverted)
    return {family: round(float(np.mean(values)), 4) for family, values in agrees.items()}


if __name__ == "__main__":
    main()
