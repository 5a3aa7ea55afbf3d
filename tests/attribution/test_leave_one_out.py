"""Leaving a word out is asking the prompt without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness import placement
from emo_harness.activations.loading import load_language_model
from emo_harness.attribution.gradients import attribute_tokens
from emo_harness.attribution.leave_one_out import (
    AskedPrompt,
    leave_one_out,
    log_probabilities,
    scorer,
    without,
)
from emo_harness.attribution.pieces import pieces_of
from emo_harness.attribution.target import encode_targets
from tests.lm_models.local_models import TOLERANCE, saved

STIMULUS = "You failed again."
CONTROL = "Q: Is it a key?\nA:"
PROMPT = f"Q: Is it a key?\n{STIMULUS}\nA:"


@pytest.mark.parametrize(
    ("text", "word", "left"),
    [
        ("a b c", "b", "a c"),
        ("a b c", "a", "b c"),
        ("a b c", "c", "a b"),
        ("Q: x\nword two\nA:", "word", "Q: x\ntwo\nA:"),
        ("Q: x\nword two\nA:", "two", "Q: x\nword\nA:"),
        ("Q: x\nword\nA:", "word", "Q: x\nA:"),
        ("word\nA:", "word", "A:"),
        ("x\nword", "word", "x"),
        ("<u>word two", "word", "<u>two"),
        ("<u>word</u>", "word", "<u></u>"),
        ("x\nword</u>", "word", "x</u>"),
        ("word", "word", ""),
    ],
)
def test_a_word_takes_one_space_along(text: str, word: str, left: str) -> None:
    first = text.index(word)
    assert without(text, first, first + len(word)) == left


@pytest.mark.parametrize("where", ["suffix", "prefix", "instruction"])
def test_without_its_stimulus_a_prompt_is_control(where: str) -> None:
    prompt = {
        "suffix": PROMPT,
        "prefix": placement.prefix(CONTROL, STIMULUS),
        "instruction": f"Tell. {STIMULUS}\n\n{CONTROL}",
    }[where]
    control = f"Tell.\n\n{CONTROL}" if where == "instruction" else CONTROL
    first = prompt.index(STIMULUS)
    assert without(prompt, first, first + len(STIMULUS)) == control


def plain(loaded: Any, prompt: str, answer: str) -> float:
    """One prompt at a time through transformers, nothing shared."""
    ids = loaded.tokenizer.encode(prompt + answer)
    n = len(loaded.tokenizer.encode(prompt))
    with torch.no_grad():
        logits = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return float(sum(logits[i - 1, ids[i]] for i in range(n, len(ids))))


# The last cannot be packed: lm-eval's own model answers for it.
@pytest.mark.parametrize("kind", ["llama", "gpt2", "mpt"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_leaving_out_is_asking_one_by_one(kind: str, adds_bos: bool, tmp_path: Path) -> None:
    loaded = load_language_model(str(saved(tmp_path, kind, adds_bos=adds_bos)), device="cpu")
    lm = scorer(loaded)
    asked = []
    for prompt, bare in ((PROMPT, CONTROL), (CONTROL, None)):
        (target,) = encode_targets(loaded.tokenizer, [(prompt, " True")])
        first = prompt.find(STIMULUS)
        span = (first, first + len(STIMULUS)) if bare else None
        pieces = pieces_of(loaded.tokenizer, prompt, target.prompt_ids.tolist(), span)
        asked.append(AskedPrompt(prompt, " True", pieces, bare))
    found = leave_one_out(lm, asked)
    assert (lm.get_model_info()["emo_hf"]["backend"] == "hf") == (kind == "mpt")
    for one, own in zip(found, asked, strict=True):
        whole = plain(loaded, own.text, " True")
        assert one.log_probability == pytest.approx(whole, abs=TOLERANCE)
        for number, piece in enumerate(own.pieces.pieces):
            if not piece.is_word:
                assert np.isnan(one.pieces[number])
                continue
            left = plain(loaded, without(own.text, piece.first, piece.after), " True")
            assert one.pieces[number] == pytest.approx(whole - left, abs=2 * TOLERANCE)
    assert found[0].stimulus == pytest.approx(
        plain(loaded, PROMPT, " True") - plain(loaded, CONTROL, " True"), abs=2 * TOLERANCE
    )
    assert np.isnan(found[1].stimulus)


def test_all_methods_look_at_the_same_log_probability(tmp_path: Path) -> None:
    loaded = load_language_model(str(saved(tmp_path, "llama", adds_bos=True)), device="cpu")
    pairs = [(PROMPT, " True"), ("Q: Is it? ", "False"), ("", " True"), (PROMPT, "\nbox a key")]
    asked = log_probabilities(scorer(loaded), pairs)
    tokens = attribute_tokens(loaded, encode_targets(loaded.tokenizer, pairs), ["gradient-x-input"])
    np.testing.assert_allclose([one.log_probability for one in tokens], asked, atol=TOLERANCE)


def test_equal_prompts_are_asked_once() -> None:
    class Counting:
        n = 0

        def loglikelihood(self, requests: Any, disable_tqdm: bool) -> list[tuple[float, bool]]:
            self.n += len(requests)
            return [(-float(len(one.args[0])), True) for one in requests]

    lm = Counting()
    found = log_probabilities(lm, [("a", " b"), ("aa", " b"), ("a", " b"), (" ", " b")])
    assert found.tolist() == [-1.0, -2.0, -1.0, 0.0] and lm.n == 3
