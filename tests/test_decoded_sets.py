"""Sets of family `decoded`: what is read, what is refused, what becomes of parts of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from emo_harness.errors import UserError
from emo_harness.stimuli import combine, content_hash, load_set, select, shuffled
from tests.lm_tasks.decoded_sets import decoding, entry, meta_entries, write_set


def read(tmp_path: Path, *entries: dict[str, Any], family: str = "decoded") -> Any:
    return load_set(write_set(tmp_path / "meta.yaml", list(entries), family))


def refused(tmp_path: Path, *entries: dict[str, Any], family: str = "decoded") -> UserError:
    with pytest.raises(UserError) as raised:
        read(tmp_path, *entries, family=family)
    return raised.value


def without(key: str, made: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in made.items() if k != key}


def test_a_decoded_set_reads_back_what_was_written(tmp_path: Path) -> None:
    written = meta_entries((0, 5, 11))
    stimuli = read(tmp_path, *written).stimuli
    assert [s.id for s in stimuli] == [e["id"] for e in written]
    for stimulus, made in zip(stimuli, written, strict=True):
        assert stimulus.decoded is not None
        dumped = stimulus.decoded.model_dump(mode="json", exclude_none=True)
        assert dumped == {**made["decoded"], "draw": 0, "lost": []}
    assert {s.lineage for s in stimuli} == {"decoded-prompt", "decoded-attack", "placebo"}
    assert all((s.placebo == "decoded") == (s.decoded.kind != "meta") for s in stimuli)


@pytest.mark.parametrize("kind", ["random", "neutral", "permuted", "shuffled"])
def test_no_control_is_an_emotional_stimulus_or_a_neutral_placebo(
    tmp_path: Path, kind: str
) -> None:
    for placebo in (None, "neutral", "self-check", "shuffled"):
        made = {**entry("prompt", 3, kind), "placebo": placebo}
        assert f"kind = '{kind}'" in refused(tmp_path, made).found
        assert f"kind = '{kind}'" in refused(tmp_path, made, family="placebo").found
    for family in ("decoded", "placebo", "worry"):
        (one,) = read(tmp_path, entry("prompt", 3, kind), family=family).stimuli
        assert (one.family, one.placebo, one.lineage) == ("placebo", "decoded", "placebo")


@pytest.mark.parametrize(
    ("made", "family", "told"),
    [
        (without("decoded", entry("prompt", 1)), "decoded", "no 'decoded'"),
        ({**entry("prompt", 1), "decoded": None}, "decoded", "no 'decoded'"),
        ({"id": "a", "text": "A text.", "placebo": "decoded"}, "worry", "placebo = 'decoded'"),
        (entry("prompt", 1), "worry", "a meta prompt (decoded.kind = 'meta') in a set of family"),
        (entry("prompt", 1), "placebo", "a meta prompt"),
        ({**entry("prompt", 1), "placebo": "decoded"}, "decoded", "a meta prompt"),
        ({**entry("prompt", 1), "placebo": "neutral"}, "decoded", "a meta prompt"),
    ],
)
def test_what_would_be_another_kind_of_arm_than_it_is_is_refused(
    tmp_path: Path, made: dict[str, Any], family: str, told: str
) -> None:
    error = refused(tmp_path, made, family=family)
    assert told in error.found and "entry 1" in error.doing and "emo decode" in error.fix


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"layr": 3}, "an unknown key 'layr' (nearest: 'layer')"),
        ({"kind": "metta"}, "kind = 'metta' (nearest: 'meta')"),
        ({"decoder": "logit_lens"}, "nearest: 'logit-lens'"),
        ({"layer": -1}, "layer = -1"),
        ({"layer": "3"}, "layer = '3'"),
        ({"layer": True}, "layer = True"),
        ({"layer": 40}, "n_layers = 40"),
        ({"source": "a,b"}, "source = 'a,b'"),
        ({"source": ""}, "source = ''"),
        ({"source": "Prompt"}, "source = 'Prompt'"),
        ({"overlap": 1.5}, "overlap = 1.5"),
        ({"overlap": float("nan")}, "overlap = nan"),
        ({"lost": [6]}, "lost = [6]"),
        ({"lost": [-1]}, "lost = [-1]"),
        ({"tokens": "words"}, "tokens = 'words'"),
        ({"tokens": [1]}, "tokens[0] = 1"),
    ],
)
def test_mistakes_in_decoded_are_told_with_entry_and_key(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    error = refused(
        tmp_path, {**entry("prompt", 1), "decoded": {**decoding("prompt", 1), **changed}}
    )
    assert told in error.found
    assert "entry 1, key 'decoded'" in error.doing


@pytest.mark.parametrize("raw", ["words", 3, [], True])
def test_decoded_is_a_mapping(tmp_path: Path, raw: Any) -> None:
    assert "key 'decoded'" in refused(tmp_path, {**entry("prompt", 1), "decoded": raw}).doing


def test_an_id_twice_and_a_family_that_looks_like_a_lineage_are_refused(tmp_path: Path) -> None:
    assert "a second time" in refused(tmp_path, entry("prompt", 1), entry("prompt", 1)).found
    told = refused(tmp_path, {"id": "a", "text": "A text."}, family="decoded-prompt")
    assert "decoded-prompt" in told.found


def test_own_placebos_may_stand_in_a_decoded_set(tmp_path: Path) -> None:
    own = {"id": "calm", "text": "A day has 24 hours.", "placebo": "neutral"}
    (_, calm) = read(tmp_path, entry("prompt", 1), own).stimuli
    assert (calm.family, calm.placebo, calm.decoded) == ("placebo", "neutral", None)


def test_a_shuffled_meta_prompt_is_a_placebo_that_was_not_decoded(tmp_path: Path) -> None:
    path = write_set(tmp_path / "meta.yaml", meta_entries((1, 7)))
    *_, mixed = select([str(path), "shuffled:decoded-prompt-l07"])
    (meta,) = (s for s in load_set(path).stimuli if s.id == "decoded-prompt-l07")
    assert mixed == shuffled(meta) and sorted(mixed.text.split()) == sorted(meta.text.split())
    assert (mixed.family, mixed.placebo, mixed.decoded) == ("placebo", "shuffled", None)
    assert mixed.lineage == "placebo"


@pytest.mark.parametrize(
    ("parts", "lineage"),
    [
        ("decoded-prompt-l01+decoded-prompt-l07", "decoded-prompt"),
        ("decoded-prompt-l01+decoded-attack-l01", "decoded-attack+decoded-prompt"),
        ("decoded-prompt-l01+ep02", "decoded-prompt+prompt"),
        ("decoded-prompt-l01+random-prompt-l01", "decoded-prompt"),
    ],
)
def test_a_combination_belongs_to_the_lineages_of_its_parts(
    tmp_path: Path, parts: str, lineage: str
) -> None:
    path = write_set(tmp_path / "meta.yaml", meta_entries((1, 7)))
    *_, joined = select([str(path), parts])
    assert (joined.lineage, joined.decoded, joined.placebo) == (lineage, None, None)


def test_joined_placebos_are_of_a_kind_that_does_no_less_than_their_parts(tmp_path: Path) -> None:
    path = str(write_set(tmp_path / "meta.yaml", meta_entries((1, 7))))
    known = {s.id: s for s in select([path, "placebo", "shuffled:ea01"])}
    kinds = {
        ("random-prompt-l01", "random-prompt-l07"): "decoded",
        ("random-prompt-l01", "neutral-5"): "decoded",
        ("neutral-5", "neutral-12"): "neutral",
        ("shuffled:ea01", "neutral-5"): "shuffled",
        ("self-check", "random-prompt-l01"): "self-check",
    }
    for parts, kind in kinds.items():
        assert combine([known[part] for part in parts]).placebo == kind


def test_hashes_of_the_shipped_sets_are_what_they_were_before_there_were_decoded_ones() -> None:
    begins = {"prompt": "b9f5e33a3f74", "attack": "465864d3a99a", "placebo": "270dec1e9641"}
    begins["negative"] = "437c3a435dc7"
    assert {name: load_set(name).hash[:12] for name in begins} == begins


def test_a_hash_tells_what_was_asked_and_not_how_it_was_decoded(tmp_path: Path) -> None:
    (one,) = read(tmp_path / "a", entry("prompt", 3)).stimuli
    elsewhere = {**entry("prompt", 3), "decoded": decoding("prompt", 3, model="another")}
    (other,) = read(tmp_path / "b", elsewhere).stimuli
    assert content_hash([one]) == content_hash([other]) and one != other


def test_a_set_is_read_anew_when_its_file_has_changed(tmp_path: Path) -> None:
    path = write_set(tmp_path / "meta.yaml", [entry("prompt", 3)])
    before = load_set(path)
    path.write_text(path.read_text("utf-8").replace("-l03", "-l04"), "utf-8")
    assert before.stimuli[0].id.endswith("l03") and load_set(path).stimuli[0].id.endswith("l04")
    assert yaml.safe_load(path.read_text("utf-8"))["family"] == "decoded"
