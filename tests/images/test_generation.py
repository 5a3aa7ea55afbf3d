"""Generation: what is missing and nothing else, whole files, matching twins, no failed image."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_harness.activations.processes import Processes
from emo_harness.errors import UserError
from emo_harness.image_file import open_image, pixels_sha256
from emo_harness.images import ImageSet, load_image_set, resume, write_manifest
from emo_harness.images.failures import BLACK, PIPELINE_FAILED, PIPELINE_REFUSED, read_failures
from emo_harness.images.generation import Work, generate
from emo_harness.images.pipeline import Wanted
from emo_harness.images.png_facts import facts_of, read_facts
from emo_harness.images.scenes import part_of, scenes_of
from tests.images.scripted_pipeline import CONCEPTS, ScriptedPipeline, make, plan, planned


def opened(folder: Path) -> ImageSet:
    """The set, every image of which is the one its manifest and its own file tell of."""
    found = load_image_set(folder)
    for entry in found.entries:
        found.open(entry)
        assert read_facts(found.path(entry)) == facts_of(entry)
    return found


def pixels(folder: Path) -> dict[str, str]:
    return {entry.id: entry.sha256 for entry in opened(folder).entries}


def test_every_image_of_a_recipe_is_made_once_and_in_its_order(tmp_path: Path) -> None:
    pipeline, images = ScriptedPipeline(), planned()
    work = make(tmp_path, pipeline, images, batch_size=5)
    assert (work.n_made, work.n_there, work.given_up) == (12, 0, [])
    assert sorted(len(call) for call in pipeline.calls) == [2, 5, 5]
    assert [entry.id for entry in opened(tmp_path).entries] == [one.id for one in images]
    assert (tmp_path / "contact_sheet.png").is_file()
    assert {path.name[0] for path in tmp_path.iterdir()} != {"."}


def test_a_finished_set_is_not_even_loaded_for(tmp_path: Path) -> None:
    images = planned()
    make(tmp_path, ScriptedPipeline(), images)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def never() -> Any:
        raise AssertionError("nothing is missing")

    work = generate(images, plan(images), never, tmp_path)
    assert (work.n_made, work.n_there, work.n_set) == (0, 12, 12)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_an_image_depends_on_no_batch_and_no_order(tmp_path: Path) -> None:
    images = planned()
    make(tmp_path / "one", ScriptedPipeline(), images, batch_size=1)
    make(tmp_path / "seven", ScriptedPipeline(), images[::-1], batch_size=7)
    assert pixels(tmp_path / "one") == pixels(tmp_path / "seven")


def test_a_twin_has_the_seed_of_its_image(tmp_path: Path) -> None:
    make(tmp_path, ScriptedPipeline(fails_first_of("fear in a house")), planned())
    found = opened(tmp_path)
    for entry in found.entries:
        if entry.twin_of:
            image = found.entry(entry.twin_of)
            assert (entry.made.seed, entry.made.attempt) == (  # type: ignore[union-attr]
                image.made.seed,  # type: ignore[union-attr]
                image.made.attempt,  # type: ignore[union-attr]
            )
            assert entry.family == "placebo"


def test_a_failed_image_is_made_anew_with_another_seed_and_so_is_its_twin(tmp_path: Path) -> None:
    work = make(tmp_path, ScriptedPipeline(fails_first_of("fear in a house")), planned())
    assert (work.n_failed, work.given_up, work.n_set) == (2, [], 12)
    found = opened(tmp_path)
    seeds = {entry.made.seed for entry in found.entries if entry.concept == "fear"}  # type: ignore[union-attr]
    assert len(seeds) == 2 and not seeds & {1, 2}
    assert {(one.id, one.attempt, one.seed) for one in read_failures(tmp_path)} == {
        ("fear-1", 0, 1),
        ("fear-2", 0, 2),
    }


def test_what_always_fails_is_no_stimulus_and_leaves_no_twin(tmp_path: Path) -> None:
    fails = ScriptedPipeline(lambda one: BLACK if "not anger" in one.prompt else None)
    work = make(tmp_path, fails, planned(), batch_size=4, retries=2)
    assert {one.id for one in work.given_up} == {"anger-1-twin", "anger-2-twin"}
    assert all(one.reason == BLACK and one.attempt == 2 for one in work.given_up)
    assert {entry.concept for entry in opened(tmp_path).entries} == {"fear", "joy"}
    assert not list(tmp_path.glob("anger*"))
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["attempt"] for line in lines] == [0, 1, 2, 0, 1, 2]

    again = ScriptedPipeline(lambda one: BLACK if "not anger" in one.prompt else None)
    assert make(tmp_path, again, planned(), retries=2).n_failed == 0
    further = make(tmp_path, ScriptedPipeline(), planned(), retries=3)
    assert (further.n_made, further.given_up) == (4, [])
    assert opened(tmp_path).entry("anger-1").made.attempt == 3  # type: ignore[union-attr]


def test_fewer_retries_do_not_take_finished_images_away(tmp_path: Path) -> None:
    make(tmp_path, ScriptedPipeline(fails_first_of("fear in a house")), planned())
    before = pixels(tmp_path)
    assert make(tmp_path, ScriptedPipeline(), planned(), retries=0).n_set == 12
    assert pixels(tmp_path) == before


class Killed(BaseException):
    """What no code catches, as a kill."""


STEPS_OF_A_RUN = 60


@pytest.mark.parametrize("batch_size", [1, 4])
def test_killed_at_any_step_it_goes_on_to_the_same_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    images = planned(1)
    make(tmp_path / "whole", failing_once(), images, batch_size=batch_size)
    reference = {
        p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir() if p.suffix != ".png"
    }
    for step in range(1, STEPS_OF_A_RUN):
        folder = tmp_path / str(step)
        with monkeypatch.context() as patch:
            count = kill_at(patch, step)
            try:
                make(folder, failing_once(), images, batch_size=batch_size)
                is_killed = False
            except Killed:
                is_killed = True
        for path in folder.glob("[!.]*.png"):
            if path.name != "contact_sheet.png":
                facts = read_facts(path)
                assert facts and facts["sha256"] == pixels_sha256(open_image(path))
        if (folder / "manifest.jsonl").exists():
            opened(folder)
        make(folder, failing_once(), images, batch_size=batch_size)
        assert pixels(folder) == pixels(tmp_path / "whole")
        assert not list(folder.glob(".*"))
        assert reference == {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".png"}
        if not is_killed:
            assert count[0] < step
            return
    raise AssertionError("a run has more steps than were tried")


def kill_at(patch: pytest.MonkeyPatch, step: int) -> list[int]:
    """Kill before the so-manieth temporary file, rename, failure record or batch."""
    import os
    import tempfile

    from emo_harness.images import making

    count = [0]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == step:
                raise Killed
            return function(*args, **kwargs)

        return call

    patch.setattr(tempfile, "mkstemp", counted(tempfile.mkstemp))
    patch.setattr(Path, "replace", counted(Path.replace))
    # What cleans up behind an error does not run in a killed process.
    unlink = Path.unlink

    def alive(self: Path, missing_ok: bool = False) -> None:
        if count[0] < step:
            unlink(self, missing_ok=missing_ok)

    patch.setattr(Path, "unlink", alive)
    patch.setattr(making, "record_failure", counted(making.record_failure))
    patch.setattr(ScriptedPipeline, "make", counted(ScriptedPipeline.make))
    assert os.name
    return count


def fails_first_of(prompt: str) -> Callable[[Wanted], str | None]:
    """Black at the recipe's own seeds, where a prompt is this one."""
    return lambda one: BLACK if one.prompt == prompt and one.seed < 10 else None


def failing_once() -> ScriptedPipeline:
    return ScriptedPipeline(fails_first_of("a house, not anger"))


@pytest.mark.parametrize("first", [0, 1, 2])
def test_processes_share_the_work_and_the_first_writes_the_whole_manifest(
    tmp_path: Path, first: int
) -> None:
    images = planned(3)
    pipelines = [ScriptedPipeline() for _ in range(3)]
    told: dict[int, Work] = {}

    def work(rank: int) -> None:
        processes = Processes(rank, 3)
        told[rank] = make(tmp_path, pipelines[rank], images, batch_size=2, processes=processes)

    threads = {rank: threading.Thread(target=work, args=(rank,)) for rank in range(3)}
    threads[first].start()
    for rank, thread in threads.items():
        if rank != first:
            threads[first].join(0.3)
            thread.start()
    for thread in threads.values():
        thread.join()
    made = [{(w.prompt, w.seed) for call in p.calls for w in call} for p in pipelines]
    assert all(made) and sum(map(len, made)) == len(set.union(*made)) == len(images)
    assert [entry.id for entry in opened(tmp_path).entries] == [one.id for one in images]
    # What is told is the sum; what a process made before the first one looked was there.
    assert told[0].n_made + told[0].n_there == told[0].n_set == len(images)
    if first == 0:
        assert (told[0].n_made, told[0].n_processes) == (len(images), 3)


def test_a_part_first_and_the_rest_later(tmp_path: Path) -> None:
    images = planned()
    scenes = scenes_of(images)
    make(tmp_path, ScriptedPipeline(), images, part=part_of(scenes, limit=3))
    assert [entry.id for entry in opened(tmp_path).entries if not entry.twin_of] == [
        f"{concept}-1" for concept in CONCEPTS
    ]
    make(tmp_path, ScriptedPipeline(), images, part=part_of(scenes, concepts=["joy"]))
    assert len(opened(tmp_path).entries) == 8
    work = make(tmp_path, ScriptedPipeline(), images)
    assert (work.n_made, work.n_there, work.n_set) == (4, 8, 12)
    with pytest.raises(UserError, match="nearest: 'fear'"):
        part_of(scenes, concepts=["feer"])


def test_damaged_and_missing_images_are_made_again(tmp_path: Path) -> None:
    make(tmp_path, ScriptedPipeline(), planned())
    before = pixels(tmp_path)
    content = (tmp_path / "fear-1.png").read_bytes()
    (tmp_path / "fear-1.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "joy-2.png").unlink()
    (tmp_path / "anger-1.png").write_bytes((tmp_path / "anger-2.png").read_bytes())
    assert make(tmp_path, ScriptedPipeline(), planned()).n_made == 3
    assert pixels(tmp_path) == before


def test_another_plan_or_another_set_is_refused(tmp_path: Path) -> None:
    images = planned()
    make(tmp_path / "one", ScriptedPipeline(), images)
    with pytest.raises(UserError, match=r"steps: None, not 7"):
        generate(images, plan(images, steps=7), ScriptedPipeline, tmp_path / "one")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="images_sha256"):
        make(tmp_path / "one", ScriptedPipeline(), planned(1))
    other = tmp_path / "other"
    other.mkdir()
    (other / "fear-1.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"fear-1\.png, but no plan\.json"):
        make(other, ScriptedPipeline(), images)
    assert (other / "fear-1.png").read_bytes() == b"mine"


def test_nothing_is_written_before_the_pipeline_is_there(tmp_path: Path) -> None:
    def load() -> Any:
        raise UserError("loading", found="no model", expected="one", fix="look")

    with pytest.raises(UserError, match="no model"):
        generate(planned(), plan(planned()), load, tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_a_plan_of_which_nothing_was_made_gives_way(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=PIPELINE_FAILED):
        always = ScriptedPipeline(lambda one: f"{PIPELINE_FAILED}: no kernel")
        make(tmp_path, always, planned())
    assert len(always.calls) <= 4
    assert make(tmp_path, ScriptedPipeline(), planned(1), retries=4).n_set == 6


@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_the_pipeline_refuses_from_the_start_is_told_at_once(
    tmp_path: Path, batch_size: int
) -> None:
    refuses = ScriptedPipeline(lambda one: f"{PIPELINE_REFUSED}: clip_skip")
    with pytest.raises(UserError, match=r"clip_skip(.|\n)*--set"):
        make(tmp_path, refuses, planned(), batch_size=batch_size)
    assert len(refuses.calls) == 1 and not list(tmp_path.iterdir())
    assert make(tmp_path, ScriptedPipeline(), planned()).n_set == 12


def test_what_the_pipeline_refuses_of_one_prompt_does_not_stop_the_others(tmp_path: Path) -> None:
    refused = f"{PIPELINE_REFUSED}: too long"
    refuses = ScriptedPipeline(lambda one: refused if "not fear" in one.prompt else None)
    work = make(tmp_path, refuses, planned(), batch_size=2, retries=1)
    assert {one.id: one.reason for one in work.given_up} == {
        "fear-1-twin": refused, "fear-2-twin": refused,
    }  # fmt: skip
    assert {entry.concept for entry in opened(tmp_path).entries} == {"anger", "joy"}


def test_an_image_is_decoded_at_most_once_to_know_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = planned()
    make(tmp_path, ScriptedPipeline(), images)
    decoded: list[Path] = []
    monkeypatch.setattr(resume, "open_image", lambda p: decoded.append(p) or open_image(p))
    for pixels_too in (False, True):
        assert resume.finished(tmp_path, images[0], 0, pixels=pixels_too)
        assert len(decoded) == pixels_too
    path = tmp_path / f"{images[0].id}.png"
    whole = path.read_bytes()
    body = whole.index(b"IDAT") + 40
    path.write_bytes(whole[:body] + bytes(9) + whole[body + 9 :])
    assert resume.finished(tmp_path, images[0], 0, pixels=False)
    assert not resume.finished(tmp_path, images[0], 0, pixels=True)
    for share in (0, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        assert not resume.finished(tmp_path, images[0], 0, pixels=False)


def test_where_memory_is_short_batches_become_smaller(tmp_path: Path) -> None:
    pipeline = ScriptedPipeline(most=2)
    work = make(tmp_path, pipeline, planned(), batch_size=8)
    assert {len(call) for call in pipeline.calls} == {2}
    assert "batches of 2" in work.remarks[-1]
    with pytest.raises(UserError, match="not enough memory for one image"):
        make(tmp_path / "none", ScriptedPipeline(most=0), planned())


def test_what_was_checked_stays_in_the_manifest(tmp_path: Path) -> None:
    images = planned()
    part = part_of(scenes_of(images), limit=3)
    make(tmp_path, ScriptedPipeline(), images, part=part)
    checked = [
        entry.model_copy(update={"checks": {"sharpness": 1.5}})
        for entry in load_image_set(tmp_path).entries
    ]
    write_manifest(tmp_path, checked)
    make(tmp_path, ScriptedPipeline(), images)
    found = [entry.checks for entry in opened(tmp_path).entries]
    assert sum(one == {"sharpness": 1.5} for one in found) == 6


def test_with_and_without_negative_prompt_are_different_batches(tmp_path: Path) -> None:
    from dataclasses import replace

    images = [
        replace(one, negative_prompt=None) if one.concept == "fear" else one for one in planned()
    ]
    pipeline = ScriptedPipeline()
    make(tmp_path, pipeline, images, batch_size=100)
    for call in pipeline.calls:
        assert len({one.negative_prompt is None for one in call}) == 1
    assert len(pipeline.calls) == 2
