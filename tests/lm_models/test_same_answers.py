"""`emo-hf` answers as lm-eval's `hf` does, one request at a time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_harness.errors import UserError
from tests.lm_models.local_models import (
    POSITIONS,
    assert_same_scores,
    ours,
    requests,
    saved,
    scores,
    texts,
    theirs,
    tokenizer,
    word_tokenizer,
)

KINDS = ("llama", "gpt2", "gpt_neox", "opt", "gemma", "phi", "gemma3_text", "bitnet")
EXAMPLES = "Q: Is the box in the room? A: True\n\nQ: Is the key in the box? A: False\n\n"
QUESTIONS = ("Q: Is the door open?", "Q: Is this true?", "Q: Größer als 日本語?")
ARMS = ("", "\nYour friend is sick.", "\nThis is very important.")
PROMPTS = [f"{EXAMPLES}{question}{arm}\nA:" for question in QUESTIONS for arm in ARMS]
OPTIONS = (" True", " False", " (A)", " Let's think step by step.")
GREEDY = {"until": ["\n\n"], "max_gen_toks": 12, "do_sample": False}

Pair = tuple[Any, Any]


@pytest.fixture(scope="module")
def pairs_of_models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ours and theirs by kind, each loaded once."""
    loaded: dict[str, Pair] = {}

    def pair(kind: str) -> Pair:
        if kind not in loaded:
            folder = saved(tmp_path_factory.mktemp("model"), kind)
            loaded[kind] = ours(folder), theirs(folder)
        return loaded[kind]

    return pair


@pytest.fixture(scope="module")
def pair(pairs_of_models: Any) -> Pair:
    return pairs_of_models("llama")


@pytest.fixture(scope="module")
def uncached_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Theirs without the cache that takes an option's logits from another place.

    With it, lm-eval 0.4.13 scores " c" after "a b" with the logits after "a" if " b c" after "a"
    is asked, too.
    """
    folder = saved(tmp_path_factory.mktemp("model"), "llama")
    return ours(folder), theirs(folder, logits_cache=False)


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_all_arms_have_the_same_likelihoods(kind: str, pairs_of_models: Any) -> None:
    lm, hf = pairs_of_models(kind)
    assert lm.get_model_info()["emo_hf"]["backend"] == "packed"
    asked = [(prompt, option) for prompt in PROMPTS for option in OPTIONS]
    assert_same_scores(scores(lm, asked), scores(hf, asked))
    assert not lm.sharing.fallbacks


@pytest.mark.parametrize("kind", KINDS)
def test_all_arms_are_continued_with_the_same_text(kind: str, pairs_of_models: Any) -> None:
    lm, hf = pairs_of_models(kind)
    found = texts(lm, PROMPTS, GREEDY)
    assert found == texts(hf, PROMPTS, GREEDY)
    assert len(set(found)) > 1
    assert not lm.sharing.fallbacks


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param([("", " True"), ("", "</s>"), ("", "<s> True"), ("", "a")], id="no context"),
        pytest.param([("A: ", "True"), ("A:  ", " True"), ("A:\n\n", "x")], id="trailing spaces"),
        pytest.param([("The box", " is"), ("The box is", " a"), ("The", " box")], id="prefixes"),
        pytest.param([("The box", " is")] * 5 + [("The", " box is")] * 2, id="equal ones"),
        pytest.param([("The room", " behind the door")], id="a single one"),
        pytest.param([("na", "ïve ö"), ("漢", "字"), ("🙂", " 🙃")], id="characters of many bytes"),
        pytest.param([("<s>The box", " is"), ("</s>The", " box")], id="special tokens as text"),
        pytest.param([("A", "B"), ("C", "D"), ("!", "?"), ("z", "z")], id="nothing in common"),
        pytest.param([], id="no requests"),
    ],
)
def test_odd_requests_are_scored_alike(asked: list[tuple[str, str]], uncached_pair: Pair) -> None:
    lm, hf = uncached_pair
    assert_same_scores(scores(lm, asked), scores(hf, asked))


def test_nothing_has_probability_one(pair: Pair) -> None:
    lm, _ = pair
    found = scores(lm, [("The box", ""), ("", ""), ("The", " box")])
    assert found[:2] == [(0.0, True), (0.0, True)]
    assert found[2][0] < 0


def test_what_the_model_would_say_is_greedy_for_both(pair: Pair) -> None:
    lm, hf = pair
    said = texts(hf, PROMPTS, {"until": [], "max_gen_toks": 3})
    asked = [(p, s) for p, s in zip(PROMPTS, said, strict=True) if s and "\ufffd" not in s]
    expected = scores(hf, asked)
    assert any(is_greedy for _, is_greedy in expected)
    assert_same_scores(scores(lm, asked), expected)


words = st.sampled_from(
    ["The", " box", " is", " a", " key", "\n", " ", "é", "🙂", "(A)", "tr", "ue"]
)
some_text = st.lists(words, min_size=1, max_size=12).map("".join)
shared_text = st.sampled_from(["", EXAMPLES[:60], EXAMPLES[:60] + "Q: Is the"])


@settings(max_examples=15)
@given(asked=st.lists(st.tuples(shared_text, some_text, some_text), min_size=1, max_size=8))
def test_any_pairs_are_scored_alike(asked: list[Any], uncached_pair: Pair) -> None:
    lm, hf = uncached_pair
    drawn = [(beginning + context, option) for beginning, context, option in asked]
    # hf refuses what leaves a context or an option without a token of its own.
    drawn = [one for one in drawn if all(hf._encode_pair(*one))]
    assert_same_scores(scores(lm, drawn), scores(hf, drawn))


def test_a_context_of_spaces_alone_is_refused_or_scored_after_the_prefix_token(
    pair: Pair,
) -> None:
    lm, hf = pair
    for context, option in (("\n", "The"), ("\n", "\n"), ("  ", "a box"), (" ", "")):
        ids = hf.tok_encode(context + option)
        [expected] = hf._loglikelihood_tokens([(("", ""), [hf.prefix_token_id], ids)])
        try:
            found = scores(lm, [(context, option)])
        except UserError:
            continue
        assert_same_scores(found, [expected])


def test_an_option_that_melts_into_its_context_is_not_taken_for_certain(pair: Pair) -> None:
    lm, hf = pair
    context, option = "tr", "ue"
    assert hf._encode_pair(context, option)[1] == []
    try:
        [(log_probability, _)] = scores(lm, [(context, option)])
    except UserError:
        return
    assert log_probability < 0


@settings(max_examples=12)
@given(
    asked=st.lists(st.tuples(shared_text, some_text), min_size=1, max_size=6),
    until=st.lists(st.sampled_from(["\n", "e", " box", "é", "th"]), max_size=2),
    max_gen_toks=st.integers(1, 10),
)
def test_any_prompts_are_continued_alike(
    asked: list[Any], until: list[str], max_gen_toks: int, pair: Pair
) -> None:
    lm, hf = pair
    prompts = [beginning + context for beginning, context in asked]
    rule = {"until": until, "max_gen_toks": max_gen_toks}
    assert texts(lm, prompts, rule) == texts(hf, prompts, rule)


def test_stop_strings_that_span_tokens_end_both_alike(pair: Pair) -> None:
    lm, hf = pair
    free = texts(hf, PROMPTS, {"until": [], "max_gen_toks": 20})
    # Pieces of what is said, cut anywhere, so that they begin and end within tokens.
    pieces = [text[i : i + 3] for text in free for i in range(2, len(text) - 3, 5)]
    stops = [piece for piece in pieces if "\ufffd" not in piece][:5]
    assert len(stops) == 5
    for stop in stops:
        rule = {"until": [stop, "never said"], "max_gen_toks": 20}
        found = texts(lm, PROMPTS, rule)
        assert found == texts(hf, PROMPTS, rule)
        assert found != free


def test_settings_may_differ_within_one_call(pair: Pair) -> None:
    lm, hf = pair
    rules = [
        {"until": ["\n"], "max_gen_toks": 3},
        {"until": "e", "max_gen_toks": 9},
        {"max_gen_toks": 1},
        {"until": ["\n"], "max_new_tokens": 5, "temperature": 0.0},
        {"until": ["a", "e"], "max_gen_toks": 8, "repetition_penalty": 1.3},
    ]
    each = [rules[i % len(rules)] for i in range(len(PROMPTS))]
    assert texts(lm, PROMPTS, each) == texts(hf, PROMPTS, each)
    assert not lm.sharing.fallbacks


def test_settings_that_are_not_ours_are_followed_by_the_host(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    lm, hf = ours(folder), theirs(folder)
    rules = [
        {"max_gen_toks": 4},
        {"max_gen_toks": 4, "num_beams": 2},
        {"max_gen_toks": 4, "no_repeat_ngram_size": 2},
        {"max_gen_toks": 4, "min_new_tokens": 4},
    ]
    each = [rules[i % len(rules)] for i in range(len(PROMPTS))]
    assert texts(lm, PROMPTS, each) == texts(hf, PROMPTS, each)
    assert dict(lm.sharing.fallbacks) == {
        "generation setting num_beams=2": 2,
        "generation setting no_repeat_ngram_size=2": 2,
        "generation setting min_new_tokens=4": 2,
    }


def test_an_end_token_ends_both_alike(pair: Pair) -> None:
    lm, hf = pair
    free = texts(hf, PROMPTS, {"until": [], "max_gen_toks": 10})
    encoded = [tokenizer().encode(text, add_special_tokens=False) for text in free]
    said = [ids[len(ids) // 2] for ids in encoded]
    rule = {"until": [], "max_gen_toks": 10, "eos_token_id": said[:4]}
    found = texts(lm, PROMPTS, rule)
    assert found == texts(hf, PROMPTS, rule)
    assert found != free


def test_rows_that_end_with_their_first_token_leave_the_others_right(pair: Pair) -> None:
    lm, hf = pair
    first = texts(hf, PROMPTS, {"until": [], "max_gen_toks": 1})
    ids = [tokenizer().encode(text, add_special_tokens=False)[0] for text in first]
    assert len(set(ids)) > 1
    for token in sorted(set(ids)):
        rule = {"until": [], "max_gen_toks": 6, "eos_token_id": [token]}
        assert texts(lm, PROMPTS, rule) == texts(hf, PROMPTS, rule)


@pytest.mark.parametrize("where", ["model", "settings"])
def test_end_tokens_of_the_model_itself_are_known(where: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    lm, hf = ours(folder), theirs(folder)
    free = texts(hf, PROMPTS, {"until": [], "max_gen_toks": 10})
    ids = [tokenizer().encode(text, add_special_tokens=False)[4] for text in free]
    for model in (lm.model, hf.model):
        model.generation_config.eos_token_id = ids[:3] if where == "model" else 1
    rule = {"until": [], "max_gen_toks": 10}
    if where == "settings":
        rule["eos_token_id"] = ids[:3]
    found = texts(lm, PROMPTS, rule)
    assert found == texts(hf, PROMPTS, rule) != free


def test_a_repetition_penalty_of_the_model_itself_is_followed(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    lm, hf = ours(folder), theirs(folder)
    free = texts(lm, PROMPTS, GREEDY)
    for model in (lm.model, hf.model):
        model.generation_config.repetition_penalty = 1.5
    found = texts(lm, PROMPTS, GREEDY)
    assert found == texts(hf, PROMPTS, GREEDY) != free


def test_a_length_of_the_model_itself_is_treated_alike(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    lm, hf = ours(folder), theirs(folder)
    for model in (lm.model, hf.model):
        model.generation_config.max_new_tokens = 5
    assert texts(lm, PROMPTS, GREEDY) == texts(hf, PROMPTS, GREEDY)


@pytest.mark.parametrize("settings", [{"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {}])
def test_greedy_is_greedy_whatever_the_model_would_sample_with(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = saved(tmp_path, "llama")
    lm, hf = ours(folder), theirs(folder)
    for model in (lm.model, hf.model):
        for name, value in settings.items():
            setattr(model.generation_config, name, value)
    for rule in (GREEDY, {"until": ["\n\n"], "max_gen_toks": 6}):
        assert texts(lm, PROMPTS, rule) == texts(hf, PROMPTS, rule)
    assert not lm.sharing.fallbacks


def test_prompts_beyond_the_context_window_lose_the_same_beginning(tmp_path: Path) -> None:
    folder = saved(tmp_path, "gpt2")
    lm, hf = ours(folder), theirs(folder)
    long = [f"{EXAMPLES * n}{question}" for n in (1, 3, 4) for question in QUESTIONS]
    asked = [(prompt, option) for prompt in long for option in (" True", OPTIONS[3])]
    n_tokens = [len(tokenizer().encode(prompt)) for prompt in long]
    assert min(n_tokens) < POSITIONS - 20 < POSITIONS < max(n_tokens)
    assert_same_scores(scores(lm, asked), scores(hf, asked))
    rule = {"until": [], "max_gen_toks": 8}
    assert texts(lm, long, rule) == texts(hf, long, rule)


@pytest.mark.parametrize("over", [-1, 0, 1, 2])
def test_the_edge_of_the_context_window_is_the_same(over: int, tmp_path: Path) -> None:
    folder = saved(tmp_path, "gpt2")
    lm, hf = ours(folder), theirs(folder)
    n_option = len(tokenizer().encode(" True"))
    prompt = "a" * (POSITIONS - n_option + over)
    asked = [(prompt, " True"), (prompt[1:] + "b", " True")]
    assert_same_scores(scores(lm, asked), scores(hf, asked))
    assert sum(lm.sharing.truncated.values()) == (2 if over > 1 else 0)
    rule = {"until": [], "max_gen_toks": n_option}
    assert texts(lm, [prompt], rule) == texts(hf, [prompt], rule)


def test_what_was_cut_is_counted_by_arm(tmp_path: Path) -> None:
    lm = ours(saved(tmp_path, "llama"))
    arms = ("control", "ea01")
    short, long = "The box", EXAMPLES * 6
    prompts = [short, long, long, long, short, short]
    pairs = requests("loglikelihood", [(prompt, " is") for prompt in prompts], arms)
    lm.loglikelihood(pairs, disable_tqdm=True)
    assert dict(lm.sharing.truncated) == {"control": 1, "ea01": 2}
    asked = requests("generate_until", [(p + "!", {"max_gen_toks": 2}) for p in prompts], arms)
    lm.generate_until(asked, disable_tqdm=True)
    assert dict(lm.sharing.truncated) == {"control": 2, "ea01": 4}
    assert lm.get_model_info()["emo_hf"]["truncated"] == {"control": 2, "ea01": 4}


def test_the_tokenizers_own_truncation_is_followed_and_counted(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    lm, hf = ours(folder, truncation=True), theirs(folder, truncation=True)
    for one in (lm, hf):
        one.tokenizer.model_max_length = 40
    prompts = [EXAMPLES + question for question in QUESTIONS]
    rule = {"until": [], "max_gen_toks": 8}
    assert texts(lm, prompts, rule) == texts(hf, prompts, rule)
    assert sum(lm.sharing.truncated.values()) == len(prompts)


@pytest.mark.parametrize(
    ("adds_bos", "arguments"),
    [
        *((adds, {"add_bos_token": asks}) for adds in (False, True) for asks in (False, True)),
        (True, {}),
        (True, {"prefix_token_id": 5}),
        (False, {"prefix_token_id": 5}),
        (True, {"max_length": 70}),
        (False, {"attn_implementation": "eager"}),
        (False, {"softmax_dtype": "float64"}),
        (False, {"logits_cache": False}),
        (False, {"batch_size": "auto"}),
        (False, {"batch_size": 8}),
        (False, {"think_end_token": "e"}),
        (False, {"think_end_token": 70}),
        (True, {"truncation": True}),
    ],
    ids=str,
)
def test_the_same_model_arguments_give_the_same_answers(
    adds_bos: bool, arguments: dict[str, Any], tmp_path: Path
) -> None:
    folder = saved(tmp_path, "llama", adds_bos=adds_bos)
    alike = {k: v for k, v in arguments.items() if k != "batch_size"}
    lm, hf = ours(folder, **arguments), theirs(folder, **alike)
    asked = [(prompt, option) for prompt in PROMPTS[:4] for option in OPTIONS]
    asked += [("", " True"), ("<s>The", " box")]
    assert_same_scores(scores(lm, asked), scores(hf, asked))
    prompts = [*PROMPTS, "<s>The box", "The box"]
    rule = {"until": ["\n\n"], "max_gen_toks": 10}
    assert texts(lm, prompts, rule) == texts(hf, prompts, rule)
    assert lm.get_model_info()["emo_hf"]["backend"] == "packed"


def test_a_model_and_a_tokenizer_may_be_handed_over(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    hf = theirs(folder)
    lm = type(ours(folder))(pretrained=hf.model, tokenizer=hf.tokenizer)
    asked = [(prompt, option) for prompt in PROMPTS[:4] for option in OPTIONS]
    assert_same_scores(scores(lm, asked), scores(hf, asked))


def test_chats_are_rendered_and_answered_alike(pair: Pair) -> None:
    lm, hf = pair
    arms = [f"Is the box open?{arm}" for arm in ARMS]
    chats = [
        [{"role": "system", "content": "Be terse."}, {"role": "user", "content": text}]
        for text in arms
    ]
    prompts = [lm.apply_chat_template(chat) for chat in chats]
    assert prompts == [hf.apply_chat_template(chat) for chat in chats]
    assert all(prompt.startswith("<s>") for prompt in prompts)
    assert texts(lm, prompts, GREEDY) == texts(hf, prompts, GREEDY)
    asked = [(prompt, option) for prompt in prompts for option in ("True", "False")]
    assert_same_scores(scores(lm, asked), scores(hf, asked))


def test_rolling_likelihoods_are_the_hosts(pair: Pair) -> None:
    lm, hf = pair
    asked = [(text,) for text in (EXAMPLES, EXAMPLES * 4, "a")]
    found, expected = (
        one.loglikelihood_rolling(requests("loglikelihood_rolling", asked), disable_tqdm=True)
        for one in (lm, hf)
    )
    assert found == pytest.approx(expected, abs=1e-4)


@settings(max_examples=5)
@given(random=st.randoms(use_true_random=False))
def test_requests_may_come_in_any_order(random: random.Random, pair: Pair) -> None:
    lm, _ = pair
    asked = [(prompt, option) for prompt in PROMPTS for option in OPTIONS[:2]]
    order = random.sample(range(len(asked)), len(asked))
    found = scores(lm, asked)
    mixed = scores(lm, [asked[i] for i in order])
    assert_same_scores(mixed, [found[i] for i in order])
    order = random.sample(range(len(PROMPTS)), len(PROMPTS))
    said = texts(lm, PROMPTS, GREEDY)
    assert texts(lm, [PROMPTS[i] for i in order], GREEDY) == [said[i] for i in order]


def test_a_thousand_requests_without_a_shared_token_are_answered_alike(tmp_path: Path) -> None:
    n = 1000
    folder = saved(tmp_path, "llama", words=word_tokenizer(n), num_hidden_layers=1)
    lm, hf = ours(folder, memory_budget="2MB"), theirs(folder)
    prompts = [f"w{i} w{(i * 7) % n}" for i in range(n)]
    asked = [(prompt, f" w{(i * 3) % n}") for i, prompt in enumerate(prompts)]
    assert_same_scores(scores(lm, asked), scores(hf, asked))
    assert lm.sharing.distinct_tokens == lm.sharing.naive_tokens == 2 * n
    rule = {"until": [], "max_gen_toks": 2}
    assert texts(lm, prompts, rule) == texts(hf, prompts, rule)


def test_half_precision_and_autocast_are_used_as_asked_for(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama")
    for arguments in ({"dtype": "bfloat16"}, {"mixed_precision_dtype": "bfloat16"}):
        lm, hf = ours(folder, **arguments), theirs(folder, **arguments)
        asked = [(prompt, option) for prompt in PROMPTS for option in OPTIONS]
        for one, other in zip(scores(lm, asked), scores(hf, asked), strict=True):
            assert one[0] == pytest.approx(other[0], rel=0.03, abs=0.1)
        assert not lm.sharing.fallbacks


class TestRealModel:
    """A trained model, whose likelihoods and words mean something."""

    STORIES = (
        "Once upon a time, there was a little girl named Lily.",
        "Once upon a time, there was a little boy named Tim. He liked",
        "Once upon a time, there was a big dog. The dog was very sad.",
        "Once upon a time",
        "Bob was very sad. Bob",
    )

    def test_stories_are_scored_and_continued_alike(self, stories_model: Path) -> None:
        lm, hf = ours(stories_model), theirs(stories_model)
        assert lm.get_model_info()["emo_hf"]["backend"] == "packed"
        prompts = [story + arm for story in self.STORIES for arm in ("", *ARMS[1:])]
        options = (" was happy.", " started to cry.", " and")
        asked = [(prompt, option) for prompt in prompts for option in options]
        assert_same_scores(scores(lm, asked), scores(hf, asked))
        rule = {"until": ["\n", " the end"], "max_gen_toks": 32}
        found = texts(lm, prompts, rule)
        assert found == texts(hf, prompts, rule)
        assert not lm.sharing.fallbacks
        assert any("Lily" in text for text in found)
