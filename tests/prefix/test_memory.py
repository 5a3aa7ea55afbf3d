"""Memory beside the weights stays within the budget, in bytes that tensors hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from emo_harness.errors import UserError
from emo_harness.prefix import (
    Continuation,
    Limits,
    PackedModel,
    Prompt,
    generate,
    limits_within,
    score,
)
from emo_harness.prefix.limits import SMALLEST
from tests.prefix.live_bytes import LiveBytes
from tests.prefix.sequences import as_tokens, spread
from tests.prefix.tiny_models import POSITIONS, build

# What weighs most differs: keys and values, projections that are computed as one, few heads of
# keys for many of queries, a wide vocabulary.
MODELS = {
    "llama_mha": ("llama", {"num_key_value_heads": 4, "num_hidden_layers": 4}),
    "gpt2": ("gpt2", {}),
    "gpt_neox": ("gpt_neox", {"num_hidden_layers": 4}),
    "phi3": ("phi3", {"num_attention_heads": 8, "num_key_value_heads": 1}),
    "granite": ("granite", {}),
    "wide_vocabulary": ("llama", {"vocab_size": 6000}),
}
BUDGETS = [1, 8]


def packed(name: str, dtype: torch.dtype = torch.float32) -> PackedModel:
    kind, changes = MODELS[name]
    return PackedModel(build(kind, **changes).to(dtype), torch.device("cpu"))


def prompt_sets() -> dict[str, list[list[int]]]:
    common = spread(70, 0, 90)
    questions = [common + spread(20, 1 + i, 90) for i in range(3)]
    return {
        "arms": [q + spread(9, 10 + i, 90) for q in questions for i in range(6)],
        "nothing in common": [spread(POSITIONS - 20, i, 90) for i in range(4)],
        "short and many": [spread(4, i, 90) for i in range(15)],
        "prefixes of each other": [common[:n] for n in range(6, 70, 8)],
    }


def smallest_budget(model: PackedModel, longest: int, share: float) -> int:
    smallest = Limits(pass_tokens=SMALLEST, tree_tokens=SMALLEST, wanted=SMALLEST)
    return int(model.costs.of_pass(smallest, longest) / share) + 1


def peak_of_scoring(model: PackedModel, sequences: list[list[int]], limits: Limits) -> int:
    questions = [Continuation(as_tokens(s[:-1]), as_tokens(s[-2:])) for s in sequences]
    with LiveBytes() as live:
        assert len(list(score(model, questions, limits))) == len(sequences)
    return live.peak


def peak_of_generation(
    model: PackedModel, sequences: list[list[int]], limits: Limits, n_tokens: int = 3
) -> int:
    prompts = [Prompt(as_tokens(s), n_tokens, lambda generated: False) for s in sequences]
    with LiveBytes() as live:
        assert len(list(generate(model, prompts, limits))) == len(sequences)
    return live.peak


def test_live_bytes_are_counted_until_they_are_freed() -> None:
    weights = torch.zeros(1000)
    with LiveBytes() as live:
        view = weights[10:]
        assert live.now == 0
        one = view + 1
        assert live.now == one.untyped_storage().nbytes() == 990 * 4
        half = one[:100]
        del one
        assert live.now == 990 * 4
        half.add_(1)
        kept = [torch.cat([half, half])]
        assert live.now == 990 * 4 + 200 * 4
        del half
        assert live.now == 200 * 4
        kept.clear()
    assert live.now == 0
    assert live.peak == 990 * 4 + 200 * 4


@pytest.mark.parametrize("times", BUDGETS)
@pytest.mark.parametrize("name", MODELS)
def test_scoring_keeps_the_budget(name: str, times: int) -> None:
    model = packed(name)
    for sequences in prompt_sets().values():
        longest = max(map(len, sequences)) - 1
        budget = times * smallest_budget(model, longest, 1.0)
        limits = limits_within(budget, model.costs, longest, Limits())
        assert peak_of_scoring(model, sequences, limits) <= budget


@pytest.mark.parametrize("times", BUDGETS)
@pytest.mark.parametrize("name", MODELS)
def test_generation_keeps_the_budget(name: str, times: int) -> None:
    model = packed(name)
    for sequences in prompt_sets().values():
        longest = max(map(len, sequences))
        budget = times * smallest_budget(model, longest, 0.5)
        limits = limits_within(budget, model.costs, longest, Limits(), share=0.5)
        assert peak_of_generation(model, sequences, limits) <= budget


@pytest.mark.parametrize("name", ["llama_mha", "gpt2", "wide_vocabulary"])
def test_half_precision_keeps_the_budget(name: str) -> None:
    model = packed(name, torch.bfloat16)
    for sequences in prompt_sets().values():
        longest = max(map(len, sequences))
        budget = 2 * smallest_budget(model, longest, 0.5)
        limits = limits_within(budget, model.costs, longest, Limits(), share=0.5)
        assert peak_of_generation(model, sequences, limits) <= budget
        assert peak_of_scoring(model, sequences, limits) <= budget


@pytest.mark.parametrize("n_tokens", [1, 90])
@pytest.mark.parametrize("name", MODELS)
def test_as_many_prompts_together_as_the_budget_allows_keep_it(name: str, n_tokens: int) -> None:
    """The budget is the smallest in which all prompts may be continued together."""
    model = packed(name)
    longest = POSITIONS - 100
    sequences = [spread(longest, i, 90) for i in range(10)]
    within = Limits(pass_tokens=SMALLEST, tree_tokens=SMALLEST, wanted=SMALLEST)
    low, high = smallest_budget(model, longest, 0.5), 10**9
    while high - low > 1000:
        middle = (low + high) // 2
        if continued_together(model, sequences, replace(within, budget_bytes=middle), n_tokens):
            high = middle
        else:
            low = middle
    limits = replace(within, budget_bytes=high)
    assert peak_of_generation(model, sequences, limits, n_tokens) <= high


@pytest.mark.parametrize("n_layers", [1, 4])
@pytest.mark.parametrize("n_tokens", [1, 20])
def test_one_long_prompt_among_short_ones_keeps_the_smallest_budget(
    n_layers: int, n_tokens: int
) -> None:
    changes = {"num_key_value_heads": 4, "num_hidden_layers": n_layers}
    longest = 500
    built = build("llama", **changes, max_position_embeddings=longest + n_tokens)
    model = PackedModel(built, torch.device("cpu"))
    costs = model.costs
    row = costs.of_rows(1, new=longest, kept=0, columns=longest, own=0, max_tokens=n_tokens)
    budget = int(costs.of_pass(Limits().smallest(), longest)) + row
    limits = limits_within(budget, costs, longest, Limits(), share=0.5, beside=row)
    sequences = [spread(5, 1, 40), spread(5, 2, 40), [50, *spread(longest - 1, 9, 90)]]
    assert peak_of_generation(model, sequences, limits, n_tokens) <= budget


def continued_together(
    model: PackedModel, sequences: list[list[int]], limits: Limits, n_tokens: int
) -> bool:
    """Whether all prompts are one company within these limits; computes nothing."""

    class PlannedError(Exception):
        pass

    def stop(self: object) -> None:
        raise PlannedError(len(self.rows))  # type: ignore[attr-defined]

    prompts = [Prompt(as_tokens(s), n_tokens, lambda generated: False) for s in sequences]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("emo_harness.prefix.generation._Batch.run", stop)
        try:
            list(generate(model, prompts, limits))
        except PlannedError as planned:
            return planned.args[0] == len(sequences)
        except UserError:
            return False
    raise AssertionError("neither planned nor refused")


def test_rows_that_leave_free_their_memory() -> None:
    model = packed("llama_mha")
    sequences = prompt_sets()["arms"]

    def asked(most: list[int]) -> list[Prompt]:
        pairs = zip(sequences, most, strict=True)
        return [Prompt(as_tokens(s), n, lambda generated: False) for s, n in pairs]

    def held_at_the_end(most: list[int]) -> int:
        with LiveBytes() as live:
            for one in generate(model, asked(most), Limits()):
                if len(one.generated) == 20:
                    return live.now
        raise AssertionError("no prompt was continued to its end")

    n = len(sequences)
    assert held_at_the_end([2] * (n - 1) + [20]) < 0.5 * held_at_the_end([20] * n)


def test_nothing_is_held_when_all_is_said() -> None:
    model = packed("gpt2")
    with LiveBytes() as live:
        list(generate(model, [Prompt(as_tokens([3, 4, 5]), 3, lambda g: False)], Limits()))
        list(score(model, [Continuation(as_tokens([3, 4, 5]), as_tokens([5, 6]))], Limits()))
    assert live.now == 0
