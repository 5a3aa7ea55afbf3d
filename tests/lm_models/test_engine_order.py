"""Engines that keep computed prefixes get their requests in trie order, answers as before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lm_eval.models import api_models
from lm_eval.models.utils import Collator

from emo_harness.errors import UserError
from emo_harness.lm_models import WEIGHTS, engine_order
from emo_harness.lm_models.engine_order import TrieOrderCollator, in_trie_order

Tokens = list[int]
SETTINGS = {"until": ["\n"], "max_gen_toks": 4}


def prompts(rng: np.random.Generator, *, n_shots: int = 1) -> list[Tokens]:
    """Shuffled prompts of 3 questions x 8 arms for each of some worked examples."""

    def text(low: int, high: int) -> Tokens:
        return rng.integers(0, 300, rng.integers(low, high)).tolist()

    made = [
        shots + question + text(2, 30)
        for shots in (text(280, 300) for _ in range(n_shots))
        for question in (text(80, 100) for _ in range(3))
        for _ in range(8)
    ]
    return [made[i] for i in rng.permutation(len(made))]


def n_shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(
        len(one), len(other)
    ))  # fmt: skip


def n_distinct(sequences: Sequence[Sequence[Any]]) -> int:
    """Nodes of the trie of single tokens."""
    return len({tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)})


def assert_trie_order(sequences: Sequence[Sequence[Any]]) -> None:
    """Neighbours share all that can be shared: what is not, is a new token of the trie."""
    shared = sum(n_shared(one, other) for one, other in pairwise(sequences))
    assert sum(map(len, sequences)) - shared == n_distinct(sequences)


def length_order(sequences: Sequence[Tokens]) -> list[Tokens]:
    return sorted(sequences, key=lambda tokens: (-len(tokens), tokens))


@pytest.mark.parametrize("n", [0, 1, 7])
def test_trie_order_shares_most_and_answers_find_their_requests(n: int) -> None:
    for seed in range(5):
        given = prompts(np.random.default_rng(seed))
        requests = [((None, None), tokens[:-3], tokens[-3:]) for tokens in given]
        collator = TrieOrderCollator(requests, sort_fn=lambda request: -len(request[1]))
        handed = [
            context + option for batch in collator.get_batched(n) for _, context, option in batch
        ]
        assert_trie_order(handed)
        with pytest.raises(AssertionError):
            assert_trie_order(length_order(given))
        assert collator.get_original([sum(tokens) for tokens in handed]) == [
            sum(tokens) for tokens in given
        ]


@pytest.mark.parametrize(
    "form",
    [
        lambda tokens, text: ((text, text), tokens[:-2], tokens[-2:]),
        lambda tokens, text: ((text, tokens), SETTINGS),
        lambda tokens, text: (text, SETTINGS, tokens),
        lambda tokens, text: (text, SETTINGS, None),
        lambda tokens, text: (text, SETTINGS, text),
        lambda tokens, text: (api_models.JsonChatStr(text), SETTINGS, None),
    ],
    ids=["log-likelihood", "generation", "server, tokens", "server, text", "chat, text", "chat"],
)
@pytest.mark.parametrize("group_by", [None, "gen_kwargs"])
def test_every_form_of_request_is_ordered_by_its_prompt(form: Any, group_by: Any) -> None:
    given = prompts(np.random.default_rng(0))
    texts = {"".join(map(chr, tokens)): tokens for tokens in given}
    requests = [form(tokens, text) for text, tokens in texts.items()]
    if isinstance(requests[0][1], list):
        group_by = None
    kwargs = {"group_by": group_by, "group_fn": lambda request: request[1]}
    collator = TrieOrderCollator(requests, **kwargs)
    of_request = {id(request): tokens for request, tokens in zip(requests, given, strict=True)}
    handed = [of_request[id(request)] for batch in collator.get_batched(0) for request in batch]
    assert len(handed) == len(given)
    assert_trie_order(handed)
    assert collator.get_original(handed) == given


def n_block_hits(order: Sequence[Tokens], *, capacity: int, block: int = 16) -> int:
    """Blocks that an engine finds computed: whole blocks by prefix, least recently used go."""
    cache: OrderedDict[bytes, None] = OrderedDict()
    hits = 0
    for tokens in order:
        names = [
            np.array(tokens[:end], np.uint32).tobytes()
            for end in range(block, len(tokens) + 1, block)
        ]
        n_found = next((i for i, name in enumerate(names) if name not in cache), len(names))
        hits += n_found
        # The end of a prompt is given up before its beginning, which more prompts share.
        for name in reversed(names):
            cache[name] = None
            cache.move_to_end(name)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return hits


@pytest.mark.parametrize("seed", range(5))
def test_a_small_cache_of_blocks_is_hit_more_often_in_trie_order(seed: int) -> None:
    given = prompts(np.random.default_rng(seed), n_shots=4)
    requests = [(("", tokens), SETTINGS) for tokens in given]
    trie = [
        tokens for batch in TrieOrderCollator(requests).get_batched(0) for (_, tokens), _ in batch
    ]
    n_blocks = sum(len(tokens) // 16 for tokens in given)
    computed = n_blocks - n_block_hits(trie, capacity=40)
    assert computed == n_blocks - n_block_hits(trie, capacity=10**6)
    assert n_blocks - n_block_hits(length_order(given), capacity=40) > 2 * computed


# Engines


@pytest.mark.parametrize("model", ["hf", "emo-hf", "emo-demo", "openai-completions", "dummy"])
def test_other_models_are_left_alone(model: str) -> None:
    with in_trie_order(model):
        assert api_models.Collator is Collator


def test_an_engine_that_is_not_installed_is_told_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_order, "find_spec", lambda name: None)
    for model in engine_order.ENGINES:
        with pytest.raises(UserError) as raised, in_trie_order(model):
            pass
        assert model in raised.value.doing and "pip install" in raised.value.fix


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_order, "find_spec", lambda name: name)


@pytest.mark.usefixtures("_installed")
def test_lm_evals_own_order_is_back_after_a_run_that_fails() -> None:
    with pytest.raises(RuntimeError), in_trie_order("local-completions"):
        assert api_models.Collator is TrieOrderCollator
        raise RuntimeError
    assert api_models.Collator is Collator


def letters(text: str) -> Tokens:
    return [ord(letter) for letter in text]


def as_text(tokens: Tokens) -> str:
    return "".join(map(chr, tokens))


class RecordingServer(api_models.TemplateAPI):
    """What is sent to a server is kept, and answered by a function of the prompt."""

    tokenizer_backend = None
    max_retries = 1
    _batch_size = 1
    _concurrent = 1
    _max_gen_toks = 4
    max_length = 10_000
    add_bos_token = False
    tokenizer = object()

    def __init__(self, *, tokenized_requests: bool) -> None:
        super(api_models.TemplateAPI, self).__init__()
        self.sent: list[Any] = []
        self.tokenized_requests = tokenized_requests

    def tok_encode(self, string: Any, **kwargs: Any) -> Any:
        return [letters(text) for text in string]

    def model_call(self, messages: Any, **kwargs: Any) -> Any:
        self.sent.extend(messages)
        return list(messages)

    def parse_generations(self, outputs: Any, **kwargs: Any) -> list[str]:
        return [str(len(prompt)) for prompt in outputs]

    def parse_logprobs(self, outputs: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        return [(float(sum(tokens)), False) for tokens in outputs]

    def _create_payload(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        raise AssertionError("nothing is sent")


@pytest.fixture
def _no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's server models need no tenacity here."""
    from tqdm import tqdm

    monkeypatch.setattr(api_models, "retry", lambda **_: lambda call: call, raising=False)
    for name in ("stop_after_attempt", "wait_exponential"):
        monkeypatch.setattr(api_models, name, lambda *_, **__: None, raising=False)
    monkeypatch.setattr(api_models, "tqdm", tqdm, raising=False)


@pytest.mark.usefixtures("_installed", "_no_retries")
@pytest.mark.parametrize("tokenized", [True, False])
def test_a_server_is_sent_prompts_in_trie_order(tokenized: bool) -> None:
    given = [as_text(tokens) for tokens in prompts(np.random.default_rng(1))]
    server = RecordingServer(tokenized_requests=tokenized)
    with in_trie_order("local-completions"):
        answers = server.generate_until([SimpleNamespace(args=(text, SETTINGS)) for text in given])
    assert answers == [str(len(text)) for text in given]
    assert len(server.sent) == len(given)
    assert_trie_order(server.sent)


@pytest.mark.usefixtures("_installed", "_no_retries")
def test_a_server_is_asked_for_log_likelihoods_in_trie_order() -> None:
    given = prompts(np.random.default_rng(2))
    server = RecordingServer(tokenized_requests=True)
    with in_trie_order("local-completions"):
        answers = server._loglikelihood_tokens([(("", ""), t[:-2], t[-2:]) for t in given])
    assert answers == [(float(sum(tokens)), False) for tokens in given]
    assert_trie_order(server.sent)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("batch_size", ["auto", 5])
def test_sglang_is_handed_prompts_in_trie_order(batch_size: Any) -> None:
    from lm_eval.models.sglang_causallms import SGLangLM

    class Recording(SGLangLM):
        tokenizer = SimpleNamespace(decode=lambda token: "", eos_token_id=0)
        _max_length, _max_gen_toks, think_end_token, add_bos_token = 10_000, 4, None, False

        def __init__(self) -> None:
            super(SGLangLM, self).__init__()
            self.batch_size = batch_size
            self.handed: list[Tokens] = []

        def tok_encode(self, string: Any, **kwargs: Any) -> Any:
            return [letters(text) for text in string]

        def _model_generate(self, requests: Any = None, **kwargs: Any) -> Any:
            self.handed.extend(requests)
            return [{"text": str(sum(tokens))} for tokens in requests]

    given = prompts(np.random.default_rng(3))
    engine = Recording()
    with in_trie_order("sglang"):
        answers = engine.generate_until(
            [SimpleNamespace(args=(as_text(tokens), SETTINGS)) for tokens in given]
        )
    assert answers == [str(sum(tokens)) for tokens in given]
    assert sorted(engine.handed) == sorted(given)
    assert_trie_order(engine.handed)


VLLM = {
    "vllm/__init__.py": """
import json, os
from types import SimpleNamespace as N

class SamplingParams:
    def __init__(self, **kwargs):
        self.kwargs = kwargs

def TokensPrompt(prompt_token_ids):
    return prompt_token_ids

class LLM:
    def __init__(self, **kwargs):
        self.llm_engine = N(model_config=N(max_model_len=2048))

    def generate(self, prompts, **kwargs):
        with open(os.environ["HANDED"], "a") as file:
            file.writelines(json.dumps(list(tokens)) + "\\n" for tokens in prompts)
        return [N(outputs=[N(text=str(sum(tokens)))]) for tokens in prompts]
""",
    "vllm/lora/__init__.py": "",
    "vllm/lora/request.py": "LoRARequest = None",
    "vllm/renderers/__init__.py": "",
    "vllm/renderers/hf.py": "def resolve_chat_template(**kwargs): return None",
    "vllm/tokenizers.py": """
from transformers import AutoTokenizer

def get_tokenizer(name, **kwargs):
    return AutoTokenizer.from_pretrained(name)
""",
    "vllm-99.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 99.0\n",
}


@pytest.fixture
def fake_vllm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment where a package called vllm writes down what it is handed."""
    for name, text in VLLM.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(text)
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    yield {**os.environ, "PYTHONPATH": path}


@pytest.mark.slow
def test_emo_run_hands_vllm_prompts_in_trie_order_and_every_prompt_gets_its_answer(
    tmp_path: Path, fake_vllm: dict[str, str]
) -> None:
    from transformers import AutoTokenizer

    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "emo"), "run", "--model", "vllm", "--batch_size",
            "auto", "--model_args", f"pretrained={WEIGHTS}", "--limit", "3", "--log_samples",
            "--tasks", "emo_bbh_mini_attack_boolean_expressions", "--output_path", str(tmp_path),
            "--metadata", '{"emo": {"stimuli": ["ea01", "ea02", "ea03"], "placebos": 2}}',
        ],
        capture_output=True, text=True, env={**fake_vllm, "HANDED": str(tmp_path / "handed")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    handed = [json.loads(line) for line in (tmp_path / "handed").read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    n_answers = 0
    for line in next(tmp_path.rglob("samples_*.jsonl")).read_text().splitlines():
        sample = json.loads(line)
        for asked, answers in zip(sample["arguments"].values(), sample["resps"], strict=True):
            assert answers == [str(sum(tokenizer(asked["arg_0"]).input_ids))]
            n_answers += 1
    # lm-eval logs a question again under each filter.
    assert n_answers == 2 * len(handed) > 0
    assert_trie_order(handed)
    with pytest.raises(AssertionError):
        assert_trie_order(length_order(handed))
