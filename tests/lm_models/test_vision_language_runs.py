"""Runs of `emo-vlm`: what is cut, kept, resumed and recorded, and what is answered one by one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.model import CachingLM
from lm_eval.models.hf_vlms import HFMultimodalLM

from emo_harness.errors import UserError
from emo_harness.lm_models import vision_language
from emo_harness.lm_models.answer_cache import answer_key
from emo_harness.lm_models.single_images import UnknownExpansionError
from emo_harness.lm_models.vision_language import VisionLanguageLM
from emo_harness.lm_models.visual_prompt_encoder import VisualPromptEncoder
from emo_harness.model_identity import loaded_identities
from tests.lm_models import local_models
from tests.lm_models.local_models import assert_same_scores, failing_passes, requests
from tests.lm_models.test_vision_language import (
    GREEDY,
    IMAGES,
    LARGE,
    OPTIONS,
    PROMPTS,
    QUESTION,
    TEXTS,
    arguments,
    generated,
    scored,
    straightforward,
)
from tests.lm_models.vision_models import saved

ASKED = [*PROMPTS, *TEXTS, (QUESTION, [])]
RATED = [(text, option, shown) for text, shown in PROMPTS[:6] for option in OPTIONS[:2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("llava"), "llava")


@pytest.fixture(scope="module")
def lm(folder: Path) -> VisionLanguageLM:
    return VisionLanguageLM(**arguments(folder))


@pytest.fixture(scope="module")
def expected(lm: VisionLanguageLM) -> tuple[list[str], list[tuple[float, bool]]]:
    return generated(lm, ASKED), scored(lm, RATED)


# Answered one by one


@pytest.mark.parametrize(
    "kwargs", [{"batch_size": 3}, {"batch_size": "auto"}], ids=["batches", "auto"]
)
def test_models_that_are_not_packed_give_the_same_answers(
    kwargs: dict[str, Any], folder: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision_language, "why_images_unsupported", lambda model: "of a test")
    alone = VisionLanguageLM(**arguments(folder, **kwargs))
    assert generated(alone, ASKED) == expected[0]
    assert_same_scores(scored(alone, RATED), expected[1])
    told = alone.get_model_info()["emo_vlm"]
    assert told["backend"] == "hf-multimodal"
    assert told["why"] == "of a test"
    assert told["fallbacks"] == {"of a test": len(ASKED) + len(RATED)}
    json.dumps(told)


def test_a_model_that_says_something_else_packed_is_not_packed(
    folder: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_harness.lm_models import visual_check

    found = iter([None, "its logits are others"])
    monkeypatch.setattr(visual_check, "why_images_different", lambda *given: next(found))
    # Right on the made-up prompt, wrong on the first real one.
    late = VisionLanguageLM(**arguments(folder))
    assert late.get_model_info()["emo_vlm"]["backend"] == "packed"
    assert generated(late, ASKED) == expected[0]
    assert late.get_model_info()["emo_vlm"]["why"] == "its logits are others"


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
def test_a_processor_that_cannot_be_followed_is_asked_for_every_prompt(
    kind: str, folder: Path, tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = folder if kind == "llava" else saved(tmp_path, kind)
    expected = generated(VisionLanguageLM(**arguments(where)), ASKED)
    monkeypatch.setattr(VisualPromptEncoder, "agrees_on", lambda *given: False)
    asking = VisionLanguageLM(**arguments(where))
    assert generated(asking, ASKED) == expected
    told = asking.get_model_info()["emo_vlm"]
    assert (told["backend"], told["asks_processor"]) == ("packed", True)
    assert caplog.text.count("it is asked for every prompt") == 1


def test_images_whose_tokens_depend_on_their_company_are_not_packed(
    folder: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*given: Any) -> Any:
        raise UnknownExpansionError("it depends")

    monkeypatch.setattr(VisualPromptEncoder, "agrees_on", unknown)
    assert generated(VisionLanguageLM(**arguments(folder)), ASKED) == expected[0]


def test_one_by_one_is_what_sharing_is_measured_against(folder: Path, expected: Any) -> None:
    alone = VisionLanguageLM(**arguments(folder, share=False))
    assert_same_scores(scored(alone, RATED), expected[1])
    assert alone.get_model_info()["emo_vlm"]["why"] == "share=False"


# What does not fit


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics3"])
@pytest.mark.parametrize("share", [True, False])
def test_text_is_cut_at_the_left_and_images_stay(kind: str, share: bool, tmp_path: Path) -> None:
    where = saved(tmp_path, kind)
    hf = HFMultimodalLM(**arguments(where))
    shown, option = [LARGE], " Let's think step by step."
    text = f"Your friend is sick. <image>\n{QUESTION}"
    short = f"<image>\n{QUESTION}"
    n_kept = hf.tok_batch_multimodal_encode([short], [shown])["input_ids"].shape[1]
    n_option = len(hf.tokenizer(option, add_special_tokens=False)["input_ids"])
    # Room for what follows the image and one token before it.
    room = n_kept + 1 + GREEDY["max_gen_toks"]
    cut = VisionLanguageLM(**arguments(where, max_length=room, share=share))
    wide = VisionLanguageLM(**arguments(where, max_length=room + 100, share=share))
    kept = f" {short}"
    if hf.tok_batch_multimodal_encode([kept], [shown])["input_ids"].shape[1] == n_kept + 1:
        assert generated(cut, [(text, shown)]) == generated(wide, [(kept, shown)])
    if share:
        assert sum(cut.sharing.truncated.values()) == 1
    narrow = VisionLanguageLM(**arguments(where, max_length=n_kept + n_option - 1, share=share))
    # The token that begins a text goes before any of the image.
    ids = hf.tok_batch_multimodal_encode([short + option], [shown])
    assert ids["input_ids"].shape[1] == n_kept + n_option
    assert_same_scores(
        scored(narrow, [(text, option, shown)]), [_without_first(hf, text, option, shown, n_kept)]
    )


def _without_first(hf: Any, text: str, option: str, shown: list[Any], n_context: int) -> Any:
    """The plain model's on what is left of a context when its first tokens are gone."""
    made = hf.tok_batch_multimodal_encode([text + option], [shown])
    n_option = len(hf.tokenizer(option, add_special_tokens=False)["input_ids"])
    n_gone = made["input_ids"].shape[1] - n_option - n_context
    kept = {
        name: value[:, n_gone:] if value.shape == made["input_ids"].shape else value
        for name, value in made.items()
    }
    with torch.no_grad():
        rows = hf.model(**kept).logits[0].log_softmax(-1)[-n_option - 1 : -1]
    targets = kept["input_ids"][0, -n_option:]
    total = float(rows[torch.arange(n_option), targets].sum())
    return total, bool((rows.argmax(-1) == targets).all())


@pytest.mark.parametrize("share", [True, False])
def test_an_image_that_does_not_fit_is_told(share: bool, folder: Path) -> None:
    small = VisionLanguageLM(**arguments(folder, max_length=12, share=share))
    for ask in (
        lambda: generated(small, [PROMPTS[0]]),
        lambda: scored(small, [(PROMPTS[0][0], OPTIONS[3], IMAGES[:1])]),
    ):
        with pytest.raises(UserError, match="images are never cut") as told:
            ask()
        assert "image_max_side" in told.value.fix


def test_cut_prompts_are_counted_by_arm(folder: Path) -> None:
    small = VisionLanguageLM(**arguments(folder, max_length=40))
    asked = [(f"{'Your friend is sick. ' * 9}{text}", dict(GREEDY), {"visual": shown})
             for text, shown in PROMPTS[:3]]  # fmt: skip
    arms = ("img:fear-1", "img:grey", "img:fear-1-twin")
    small.generate_until(requests("generate_until", asked, arms), disable_tqdm=True)
    assert small.sharing.truncated == dict.fromkeys(arms, 1)


# Kept answers


@pytest.mark.parametrize("kind", ["generate_until", "loglikelihood"])
@pytest.mark.parametrize("share", [True, False])
def test_a_killed_run_goes_on_with_exactly_what_is_left(
    kind: str, share: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        (one, dict(GREEDY)) if isinstance(one, str) else (one[0], dict(GREEDY), {"visual": one[1]})
        for one in [*PROMPTS, *TEXTS]
    ]
    if kind == "loglikelihood":
        asked = [(one[0], " True", *one[2:]) for one in asked]
    instances = requests(kind, asked)
    one = VisionLanguageLM(**arguments(folder, share=share))
    answers = getattr(one, kind)(instances, disable_tqdm=True)

    cache = CachingLM(one, str(tmp_path / "answers.db"))
    add, kept = one.cache_hook.add_partial, []

    def dying(attr: str, args: Any, answer: Any) -> None:
        if len(kept) == 5:
            raise KeyboardInterrupt
        kept.append(args)
        add(attr, args, answer)

    monkeypatch.setattr(one.cache_hook, "add_partial", dying)
    with pytest.raises(KeyboardInterrupt):
        getattr(cache, kind)(instances)
    cache.dbdict.close()

    other = VisionLanguageLM(**arguments(folder, share=share))
    again = CachingLM(other, str(tmp_path / "answers.db"))
    left: list[Any] = []
    plain = getattr(other, kind)
    monkeypatch.setattr(other, kind, lambda some: left.extend(some) or plain(some, True))
    found = getattr(again, kind)(instances)
    if kind == "generate_until":
        assert found == answers
    else:
        assert_same_scores(found, answers)
    assert len(left) == len(asked) - 5
    assert not any(one.args is args for one in left for args in kept)
    left.clear()
    assert getattr(again, kind)(instances) == found
    assert not left


@pytest.mark.parametrize("share", [True, False])
def test_no_image_finds_the_answer_of_another_or_of_none(
    share: bool, folder: Path, tmp_path: Path
) -> None:
    one = VisionLanguageLM(**arguments(folder, share=share))
    cache = CachingLM(one, str(tmp_path / "answers.db"))
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0][0]]
    first = [generated(cache.lm, [prompt])[0] for prompt in prompts]
    assert len(set(first)) == 3
    cache.dbdict.close()
    rows = sqlite3.connect(tmp_path / "answers.db").execute("select count(*) from unnamed")
    assert rows.fetchone()[0] == 3


def test_the_processors_settings_are_part_of_what_answers_are_kept_for(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = other / "processor_config.json"
    if not config.is_file():
        config = other / "preprocessor_config.json"

    def keys() -> tuple[str, ...]:
        named = {"pretrained": str(other)}
        return answer_key("emo-vlm", named).sha256, loaded_identities(named)["processor"]

    before = keys()
    config.write_text(config.read_text().replace("24", "32"))
    assert all(a != b for a, b in zip(before, keys(), strict=True))
    shown = answer_key("emo-vlm", {"pretrained": str(other), "image_max_side": 24}).sha256
    assert shown != keys()[0]


# Memory, mistakes


def test_memory_that_runs_out_costs_no_answer(folder: Path, expected: Any) -> None:
    one = VisionLanguageLM(**arguments(folder))

    def fails(number: int) -> Exception | None:
        return torch.OutOfMemoryError("out of memory") if number in (0, 2) else None

    generated(one, PROMPTS[:1])
    with failing_passes(one, fails):  # type: ignore[arg-type]
        assert generated(one, ASKED) == expected[0]
    assert one.sharing.halvings == 2


def test_a_model_of_text_is_told_to_be_one(tmp_path: Path) -> None:
    where = local_models.saved(tmp_path, "llama")
    with pytest.raises(UserError, match="multimodal") as told:
        VisionLanguageLM(**arguments(where))
    assert "--model emo-hf" in told.value.fix


def test_something_else_than_images_is_refused(lm: VisionLanguageLM) -> None:
    asked = requests("generate_until", [("a", dict(GREEDY), {"audio": [1]})])
    with pytest.raises(UserError, match="audio"):
        lm.generate_until(asked, disable_tqdm=True)


def test_whole_texts_are_scored_without_images_alone(folder: Path, lm: VisionLanguageLM) -> None:
    asked = requests("loglikelihood_rolling", [("The box is in the room.",)])
    hf = HFMultimodalLM(**arguments(folder))
    assert lm.loglikelihood_rolling(asked, disable_tqdm=True) == pytest.approx(
        hf.loglikelihood_rolling(asked), abs=1e-4
    )
    shown = requests("loglikelihood_rolling", [("<image>", {}, {"visual": IMAGES[:1]})])
    with pytest.raises(UserError, match="images"):
        lm.loglikelihood_rolling(shown, disable_tqdm=True)


def test_reference_and_sharing_agree_in_half_precision(folder: Path) -> None:
    given = arguments(folder, dtype="bfloat16")
    one, hf = VisionLanguageLM(**given), HFMultimodalLM(**given)
    asked = [(text, " True", shown) for text, shown in PROMPTS]
    for (own, _), (plain, _) in zip(
        scored(one, asked), [straightforward(hf, *each) for each in asked], strict=True
    ):
        # Both round to eight bits after every step, in another order.
        assert own == pytest.approx(plain, rel=0.02, abs=0.1)
