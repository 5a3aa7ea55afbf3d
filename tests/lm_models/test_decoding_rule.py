"""Tokens are chosen and ended by lm-eval's and transformers' own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.models.utils_hf import stop_sequences_criteria
from transformers import GenerationConfig
from transformers.generation import logits_process

from emo_harness.errors import UserError
from emo_harness.lm_models.decoding_rule import DecodingRule, read_rule, seed_of
from emo_harness.lm_models.stop_rule import StopRule
from tests.lm_models.local_models import ours, requests, saved, texts, tokenizer
from tests.prefix.tiny_models import VOCABULARY, build

EOS = "</s>"
PROMPT = [5, 6, 7, 5]


def rule_of(given: dict[str, Any], **of_the_model: Any) -> DecodingRule:
    rule = read_rule(given, GenerationConfig(**of_the_model), default_max_tokens=9, eos=EOS)
    assert isinstance(rule, DecodingRule), rule
    return rule


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0.7},
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 5},
        {"temperature": 0.7, "top_k": 0},
        {"temperature": 1.3, "top_k": 0, "top_p": 0.8},
        {"temperature": 0.7, "top_p": 1.0},
        {"temperature": 0.7, "top_p": 0.3, "top_k": 7},
        {"temperature": 0.7, "min_p": 0.2},
        {"temperature": 0.7, "min_p": 0.05, "top_p": 0.9, "top_k": 30},
        {"temperature": 0.7, "repetition_penalty": 1.4},
        {"temperature": 0.9, "repetition_penalty": 0.6, "top_k": 3},
        {"repetition_penalty": 1.7},
        {"do_sample": False, "temperature": 0.0, "repetition_penalty": 1.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("of_the_model", [{}, {"top_k": 11, "top_p": 0.7, "temperature": 0.6}])
def test_scores_are_those_of_transformers_own_processors(
    given: dict[str, Any], of_the_model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("llama")
    model.generation_config = GenerationConfig(**of_the_model)
    sampling = {"do_sample": given.get("temperature", 0) > 0}
    config, _ = model._prepare_generation_config(None, **{**given, **sampling})
    theirs = model._get_logits_processor(config, input_ids_seq_length=len(PROMPT))

    used: list[str] = []
    for name in ("RepetitionPenaltyLogitsProcessor", *(f"{n}LogitsWarper" for n in _WARPERS)):
        monkeypatch.setattr(logits_process, name, _noting(getattr(logits_process, name), used))
    heard: list[torch.Tensor] = []
    drawn = _hearing("multinomial", heard) if sampling["do_sample"] else None
    if drawn:
        monkeypatch.setattr(torch, "multinomial", drawn)
    pick = rule_of(given, **of_the_model).pick(PROMPT, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        logits = torch.randn(VOCABULARY, generator=generator) * 3
        generated = torch.randint(0, VOCABULARY, (4,), generator=generator).tolist()
        expected = theirs(torch.tensor([[*PROMPT, *generated]]), logits[None].clone())[0]
        token = pick(logits, generated)
        if drawn:
            torch.testing.assert_close(heard.pop(), expected.softmax(dim=-1))
            assert expected[token] > float("-inf")
        else:
            assert token == int(expected.argmax())
    n_steps = len(used) // 5
    assert used[:n_steps] == [type(one).__name__ for one in theirs]


_WARPERS = ("Temperature", "TopK", "TopP", "MinP")


def _noting(kind: type, used: list[str]) -> type:
    def call(self: Any, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        used.append(kind.__name__)
        return kind.__call__(self, ids, scores)

    return type(kind.__name__, (kind,), {"__call__": call})


def _hearing(name: str, heard: list[torch.Tensor]) -> Any:
    plain = getattr(torch, name)

    def listening(shares: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        heard.append(shares.clone())
        return plain(shares, *args, **kwargs)

    return listening


def test_sampling_keeps_to_the_fifty_best_unless_told_otherwise() -> None:
    assert rule_of({"temperature": 0.5}).top_k == 50
    assert rule_of({"temperature": 0.5, "top_k": 3}).top_k == 3
    assert rule_of({"temperature": 0.5}, top_k=7).top_k == 7
    pick = rule_of({"temperature": 2.0, "top_k": 2}).pick(PROMPT, torch.Generator())
    logits = torch.arange(20.0)
    assert {pick(logits, [3]) for _ in range(200)} == {18, 19}


@pytest.mark.parametrize(
    "setting",
    [
        {"num_beams": 2},
        {"num_beam_groups": 2},
        {"no_repeat_ngram_size": 2},
        {"encoder_no_repeat_ngram_size": 2},
        {"bad_words_ids": [[3]]},
        {"force_words_ids": [[3]]},
        {"min_length": 5},
        {"min_new_tokens": 5},
        {"forced_bos_token_id": 3},
        {"forced_eos_token_id": 3},
        {"suppress_tokens": [3]},
        {"begin_suppress_tokens": [3]},
        {"sequence_bias": [[[3], 1.0]]},
        {"guidance_scale": 2.0},
        {"typical_p": 0.5},
        {"epsilon_cutoff": 0.1},
        {"eta_cutoff": 0.1},
        {"diversity_penalty": 0.5},
        {"exponential_decay_length_penalty": (3, 1.1)},
        {"penalty_alpha": 0.6},
        {"renormalize_logits": True},
        {"remove_invalid_values": True},
        {"stop_strings": ["a"]},
        {"prompt_lookup_num_tokens": 3},
        {"max_time": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["request", "model"])
def test_what_the_rule_cannot_express_is_named(setting: dict[str, Any], where: str) -> None:
    [name] = setting
    config = GenerationConfig()
    if where == "model":
        setattr(config, name, setting[name])
    given = setting if where == "request" else {}
    found = read_rule({"max_gen_toks": 3, **given}, config, default_max_tokens=9, eos=EOS)
    assert isinstance(found, str)
    assert f"{name}=" in found


@pytest.mark.parametrize("given", [{"use_cache": False}, {"max_length": 40}, {"my_own": 1}])
def test_settings_that_are_not_known_are_named(given: dict[str, Any]) -> None:
    found = read_rule(given, GenerationConfig(), default_max_tokens=9, eos=EOS)
    [name] = given
    assert isinstance(found, str)
    assert name in found


def test_sampling_without_a_temperature_is_refused() -> None:
    """The host would be asked for a temperature of 0, and has no answer."""
    for of_the_model in ({}, {"temperature": 0.6}):
        config = GenerationConfig(**of_the_model)
        with pytest.raises(UserError, match="temperature"):
            read_rule({"do_sample": True}, config, default_max_tokens=9, eos=EOS)


def test_an_empty_stop_string_is_the_hosts() -> None:
    found = read_rule({"until": ["", "a"]}, GenerationConfig(), default_max_tokens=9, eos=EOS)
    assert found == "an empty stop string"


def test_a_rule_reads_what_lm_eval_reads() -> None:
    rule = rule_of({"until": "x", "max_new_tokens": 4, "temperature": 0.0})
    assert (rule.max_tokens, rule.until, rule.do_sample) == (4, ("x", EOS), False)
    assert rule_of({}).max_tokens == 9
    assert rule_of({"until": None}).until == (EOS,)
    assert rule_of({"until": ["b", "a", EOS]}).until == ("b", "a", EOS)
    assert rule_of({"do_sample": False, "temperature": 0.7}).takes_most_probable
    assert rule_of({}, do_sample=True, temperature=0.7).takes_most_probable
    assert rule_of({}, eos_token_id=[3, 4]).end_tokens == {3, 4}
    assert rule_of({"eos_token_id": 5}, eos_token_id=[3, 4]).end_tokens == {5}
    assert rule_of({}).end_tokens == frozenset()


def test_reading_a_rule_changes_no_settings() -> None:
    given = {"until": ["x"], "max_gen_toks": 3}
    rule_of(given)
    assert given == {"until": ["x"], "max_gen_toks": 3}


# Stopping

ids = st.integers(2, 339)
stops = st.lists(
    st.sampled_from(["\n", "\n\n", " box", "e", "é", "日", "🙂", "Q:", ". ", "s ", " ", "tr"])
    | st.text(alphabet="tre \nébQ:🙂.", min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)
# Whole words and single bytes, so that characters are cut and completed.
said = st.lists(
    ids.map(lambda token: [token])
    | st.sampled_from(["\n\n", " box is", "Q: true. ", "é", "日本🙂", "e e", "trueue"]).map(
        lambda text: tokenizer().encode(text, add_special_tokens=False)
    ),
    min_size=1,
    max_size=14,
).map(lambda parts: [token for part in parts for token in part])


def their_text(generated: list[int], until: list[str]) -> str:
    """What lm-eval's criteria let through of a stream, as lm-eval cuts it."""
    criteria = stop_sequences_criteria(tokenizer(), until, len(PROMPT), 1)
    for n in range(1, len(generated) + 1):
        so_far = torch.tensor([[*PROMPT, *generated[:n]]])
        if any(bool(one(so_far, None)) for one in criteria):
            return _cut(generated[:n], until)
    return _cut(generated, until)


def our_text(generated: list[int], until: list[str]) -> str:
    stop = StopRule(tokenizer(), tuple(until), frozenset())
    for n in range(1, len(generated) + 1):
        if stop(generated[:n]):
            return _cut(generated[:n], until)
    return _cut(generated, until)


def _cut(generated: list[int], until: list[str]) -> str:
    text = tokenizer().decode(generated, skip_special_tokens=True)
    return postprocess_generated_text(text, until, None)


@settings(max_examples=400)
@given(generated=said, until=stops)
def test_texts_end_where_lm_evals_criteria_end_them(generated: list[int], until: list[str]) -> None:
    assert our_text(generated, until) == their_text(generated, until)


@settings(max_examples=100)
@given(generated=said, until=stops)
def test_a_stop_string_is_seen_with_the_token_that_completes_it(
    generated: list[int], until: list[str]
) -> None:
    stop = StopRule(tokenizer(), tuple(until), frozenset())
    first = next((n for n in range(1, len(generated) + 1) if stop(generated[:n])), None)
    decoded = [tokenizer().decode(generated[:n]) for n in range(1, len(generated) + 1)]
    holding = [n for n, text in enumerate(decoded, 1) if any(s in text for s in until)]
    assert first == (holding[0] if holding else None)


def test_an_end_token_ends_whatever_was_said() -> None:
    stop = StopRule(tokenizer(), ("never",), frozenset({7, 9}))
    assert [stop([5, token]) for token in (6, 7, 8, 9)] == [False, True, False, True]


def test_a_tokenizer_that_tidies_spaces_is_asked_every_time() -> None:
    words = tokenizer()
    tidy = type(words)(
        tokenizer_object=words._tokenizer, eos_token="</s>", clean_up_tokenization_spaces=True
    )
    generated = tidy.encode("a .", add_special_tokens=False)
    stop = StopRule(tidy, ("a.",), frozenset())
    assert stop(generated) == ("a." in tidy.decode(generated))


# Sampling

SAMPLING = {"until": [], "max_gen_toks": 8, "temperature": 0.9}
PROMPTS = ["The box is", "The box was", "Q: Is this true?", "Q: Is this a key?", "A"]


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    before = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(before)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ours(saved(tmp_path_factory.mktemp("model"), "llama"))


def sampled(lm: Any, prompts: list[str], **changes: Any) -> list[str]:
    return texts(lm, prompts, {**SAMPLING, **changes})


def test_a_sample_does_not_depend_on_company_or_order(lm: Any) -> None:
    together = dict(zip(PROMPTS, sampled(lm, PROMPTS), strict=True))
    assert len(set(together.values())) == len(PROMPTS)
    for prompt in PROMPTS:
        assert sampled(lm, [prompt]) == [together[prompt]]
    mixed = PROMPTS[::-1]
    assert sampled(lm, mixed) == [together[prompt] for prompt in mixed]
    more = [*PROMPTS, *(f"{prompt}!" for prompt in PROMPTS)]
    assert sampled(lm, more)[: len(PROMPTS)] == list(together.values())


def test_a_sample_does_not_depend_on_the_budget(lm: Any, tmp_path: Any) -> None:
    small = ours(saved(tmp_path, "llama"), memory_budget="1MB")
    assert sampled(small, PROMPTS) == sampled(lm, PROMPTS)


def test_repeats_of_one_request_differ(lm: Any) -> None:
    one = requests("generate_until", [(PROMPTS[0], SAMPLING)])[0]
    found = lm.generate_until([one] * 6, disable_tqdm=True)
    assert len(set(found)) > 3
    assert lm.generate_until([one] * 6, disable_tqdm=True) == found
    assert lm.generate_until([one] * 3, disable_tqdm=True) == found[:3]


def test_samples_depend_on_the_seed_and_the_settings(lm: Any) -> None:
    found = sampled(lm, PROMPTS)
    assert sampled(lm, PROMPTS, temperature=0.91) != found
    torch.manual_seed(1)
    assert sampled(lm, PROMPTS) != found
    torch.manual_seed(0)
    assert sampled(lm, PROMPTS) == found


def test_sampling_leaves_the_global_generator_alone(lm: Any) -> None:
    before = torch.get_rng_state()
    sampled(lm, PROMPTS)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_best_token_is_what_greedy_says(lm: Any) -> None:
    greedy = texts(lm, PROMPTS, {"until": [], "max_gen_toks": 8})
    assert sampled(lm, PROMPTS, top_k=1) == greedy
    assert sampled(lm, PROMPTS, temperature=1e-4) == greedy


def test_samples_are_distributed_as_the_model_says(lm: Any) -> None:
    one = requests("generate_until", [("The", {**SAMPLING, "max_gen_toks": 1, "top_k": 3})])[0]
    n_samples = 600
    found = lm.generate_until([one] * n_samples, disable_tqdm=True)
    ids = tokenizer().encode("The", add_special_tokens=False)
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0, -1]
    best = (logits / 0.9).topk(3)
    shares: Counter[str] = Counter()
    for token, share in zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True):
        # Single bytes of larger characters look the same.
        shares[tokenizer().decode([token])] += share
    assert set(found) == set(shares)
    for text, share in shares.items():
        error = (share * (1 - share) / n_samples) ** 0.5
        assert abs(found.count(text) / n_samples - share) <= 4 * error


def test_seeds_differ_between_prompts_settings_and_repeats() -> None:
    seeds = {
        seed_of(prompt, {"temperature": t}, repeat)
        for prompt in ("a", "b")
        for t in (0.1, 0.2)
        for repeat in range(3)
    }
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
