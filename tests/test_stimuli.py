import json
from pathlib import Path

import pytest
import yaml

from emo_harness.errors import UserError
from emo_harness.stimuli import (
    SHIPPED_SETS,
    content_hash,
    load_set,
    own_sentence,
    select,
    shipped_stimuli,
    shuffled,
)
from emo_harness.stimuli.files import MAX_FILE_BYTES
from tests.conftest import SHARED

GOOD = "name: mine\nfamily: mine\nstimuli:\n  - id: a\n    text: I am glad.\n"


def write(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_shipped_sets_hold_the_published_counts() -> None:
    assert [s.id for s in load_set("attack").stimuli] == [f"ea{i:02}" for i in range(1, 23)]
    assert [s.id for s in load_set("negative").stimuli] == [f"np{i:02}" for i in range(1, 11)]
    prompt = [s.id for s in load_set("prompt").default_stimuli]
    assert prompt == [f"ep{i:02}" for i in range(1, 12)] + [f"em{i:02}" for i in range(1, 11)]
    assert [s.placebo for s in load_set("placebo").stimuli].count("neutral") == 4


def test_shipped_texts_are_the_published_ones_to_the_letter() -> None:
    published = SHARED / "data" / "stimuli" / "published.json"
    if not published.is_file():
        pytest.skip("published stimuli not at hand (../shared/data/stimuli)")
    data = json.loads(published.read_text("utf-8"))
    texts = {s["id"].lower(): s["text"] for name in list(data)[1:] for s in data[name]}
    ours = shipped_stimuli()
    compared = [i for i in texts if i in ours]
    assert len(compared) == 11 + 22 + 10
    assert {i: ours[i].text for i in compared} == {i: texts[i] for i in compared}


def test_every_shipped_stimulus_tells_its_source_and_demand() -> None:
    for stimulus in shipped_stimuli().values():
        assert stimulus.source and stimulus.demand is not None and stimulus.theory
        assert stimulus.confidence or "written for this project" in stimulus.source


def test_both_readings_of_ep06_are_selectable_and_one_is_default() -> None:
    first, second = select(["ep06", "ep06-joined"])
    joined = " ".join(s.text for s in select(["ep01", "ep02", "ep03"]))
    assert second.text == joined != first.text
    assert [s.id for s in load_set("prompt").default_stimuli].count("ep06-joined") == 0


def test_arousal_ranks_are_a_permutation_where_published() -> None:
    ranks = [s.arousal_rank for s in load_set("attack").stimuli if s.arousal_rank]
    assert sorted(ranks) == list(range(1, 8))


def test_combination_joins_texts_in_order_with_one_space() -> None:
    (both,) = select("EP02+ep07")
    ep02, ep07 = select(["ep02", "ep07"])
    assert both.id == "ep02+ep07" and both.text == f"{ep02.text} {ep07.text}"
    assert both.family == "prompt" and both.demand is True


def test_shuffled_keeps_the_words_and_changes_their_order_reproducibly() -> None:
    for stimulus in load_set("attack").stimuli:
        mixed = shuffled(stimulus)
        assert sorted(mixed.text.split()) == sorted(stimulus.text.split())
        assert mixed.text != stimulus.text
        assert mixed == shuffled(stimulus)
        assert (mixed.family, mixed.placebo) == ("placebo", "shuffled")


def test_a_sentence_is_a_stimulus_of_the_users_own() -> None:
    (own,) = select("My dog is {{ ill }}.")
    assert own == own_sentence("My dog is {{ ill }}.") and own.family == "own"


def test_order_is_kept_and_repeats_are_dropped() -> None:
    assert [s.id for s in select(["ea03", "ea01", "ea03", "EA01"])] == ["ea03", "ea01"]


def test_own_file_loads_and_its_ids_combine_with_shipped_ones(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert [s.id for s in select([path, "a+ep02"])] == ["a", "a+ep02"]
    assert load_set(path).family == "mine"


def test_hash_changes_with_content_alone(tmp_path: Path) -> None:
    one = load_set(write(tmp_path, GOOD)).hash
    (tmp_path / "other").mkdir()
    retitled = GOOD.replace("name: mine", "name: mine\ntitle: Mine") + "    source: a diary\n"
    assert load_set(write(tmp_path / "other", retitled)).hash == one
    reworded = [s.model_copy(update={"text": "I am sad."}) for s in select(write(tmp_path, GOOD))]
    assert content_hash(reworded) != one


def test_a_known_id_with_other_words_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("id: a", "id: ea01"))
    with pytest.raises(UserError, match="two different stimuli"):
        select(["ea01", path])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOOD.replace("    text: I am glad.\n", ""), "no 'text'"),
        (GOOD.replace("  - id: a\n    text", "  - text"), "no 'id'"),
        (GOOD.replace("family: mine\n", ""), "no 'family'"),
        (GOOD + "  - id: a\n    text: Again.\n", "'a' a second time"),
        (GOOD.replace("I am glad.", "[1, 2]"), "text = "),
        (GOOD.replace("I am glad.", "7"), "text = 7"),
        (GOOD.replace("I am glad.", "'  '"), "text = "),
        (GOOD.replace("I am glad.", '"two\\nlines"'), "text = "),
        (GOOD.replace("I am glad.", "x" * 5000), "text = "),
        (GOOD.replace("I am glad.", "x" * 10_000_000), "a file of"),
        (GOOD.replace("text:", "txt:"), "'txt' (nearest: 'text')"),
        (GOOD.replace("id: a", "id: A b"), "id = 'A b'"),
        (GOOD.replace("glad.", "glad.\n    demand: maybe"), "demand = 'maybe'"),
        ("name: mine\nfamily: mine\nstimuli: []\n", "an empty list"),
        ("name: mine\nfamily: mine\n", "no list of stimuli"),
        ("just text", "a YAML str"),
        ("name: [", "broken YAML"),
        ("!!python/object/apply:os.system ['true']", "broken YAML"),
        (b"name: \xff\xfe", "not UTF-8"),
        ("", "a YAML NoneType"),
    ],
)
def test_bad_files_are_told_in_one_block(tmp_path: Path, text: str | bytes, found: str) -> None:
    with pytest.raises(UserError) as raised:
        load_set(write(tmp_path, text))
    assert found in raised.value.found
    assert "mine.yaml" in raised.value.doing


@pytest.mark.parametrize("name", ["atack", "ea99", "nothing.yaml", "ea01+ea99", "shuffled:zz", ""])
def test_unknown_names_are_told(name: str) -> None:
    with pytest.raises(UserError):
        select(name)


def test_limits_leave_room_for_real_sets() -> None:
    for name in SHIPPED_SETS:
        dumped = yaml.safe_dump([s.model_dump() for s in load_set(name).stimuli])
        assert len(dumped) < MAX_FILE_BYTES / 10
