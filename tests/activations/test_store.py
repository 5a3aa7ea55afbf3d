"""A store is whole or goes on where it was cut short, and reads back what was put in."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emo_harness.activations import plan as plans
from emo_harness.activations.capture import Work, capture, vectors
from emo_harness.activations.plan import shard_ends
from emo_harness.activations.processes import Processes, wait_until
from emo_harness.activations.store import Activations, open_activations
from emo_harness.errors import UserError
from tests.activations.loaded import prompts, shared
from tests.conftest import ROOT
from tests.lm_models.local_models import saved

TABLE = prompts()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "SHARD_ROWS", 4)


def captured(folder: Path, work: Work | None = None, **settings: Any) -> Activations:
    return capture(shared("gpt2"), TABLE, folder, work=work, progress=False, **settings)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rows_come_back_in_any_order_and_of_any_layers(tmp_path: Path, dtype: Any) -> None:
    store = captured(tmp_path, sites=["value", "resid_post"], dtype=dtype)
    expected = vectors(shared("gpt2"), TABLE, sites=["value", "resid_post"])
    rows = np.array([7, 0, 12, 7])
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6}[dtype]
    for site in ("value", "resid_post"):
        found = store.read(site, rows=rows, layers=[1])
        wanted = expected.values[site][store.index["prompt"][rows]][:, [1]]
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    whole = store.read("value")
    for part, block in store.blocks("value", 5):
        np.testing.assert_array_equal(block, whole[part])


def test_every_prompt_has_its_row_and_its_facts(tmp_path: Path) -> None:
    store = captured(tmp_path)
    index = store.index.sort_values("prompt").reset_index(drop=True)
    facts = ["text", "word", "template", "negation"]
    pd.testing.assert_frame_equal(index[facts], TABLE[facts])
    assert index["prompt"].tolist() == list(range(len(TABLE)))
    assert (index["token"] == index["n_tokens"] - 1).all()
    assert store.manifest.n_rows == len(index) == sum(s.n_rows for s in store.manifest.shards)


def test_a_capture_again_does_nothing(tmp_path: Path) -> None:
    captured(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    work = Work()
    captured(tmp_path, work)
    assert work.n_computed == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", ["delete", "cut", "flip", "another"])
def test_only_missing_and_damaged_shards_are_computed_again(tmp_path: Path, damage: str) -> None:
    captured(tmp_path)
    expected = content(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    raw = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    elif damage == "another":
        path.write_bytes((tmp_path / "shard-00002.safetensors").read_bytes())
    else:
        raw[-3] ^= 1
        path.write_bytes(raw[:-9] if damage == "cut" else raw)
    work = Work()
    captured(tmp_path, work)
    assert work.n_computed == 1
    assert content(tmp_path) == expected


@pytest.mark.parametrize("name", ["index.parquet", "manifest.json", "spans.safetensors"])
def test_what_stands_beside_the_shards_is_made_again(tmp_path: Path, name: str) -> None:
    captured(tmp_path)
    expected = content(tmp_path)
    (tmp_path / name).unlink()
    work = Work()
    captured(tmp_path, work)
    assert work.n_computed == 0
    assert content(tmp_path) == expected


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sites": ["key"]}, "sites"),
        ({"layers": [0]}, "layers"),
        ({"position": "span"}, "position"),
        ({"dtype": "float32"}, "dtype"),
    ],
)
def test_another_capture_in_the_folder_is_refused(
    tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    captured(tmp_path)
    before = content(tmp_path)
    with pytest.raises(UserError, match=f"another capture .*{told}"):
        captured(tmp_path, **settings)
    assert content(tmp_path) == before


def test_other_prompts_and_other_facts_are_another_capture(tmp_path: Path) -> None:
    captured(tmp_path)
    for table in (TABLE[:-1], TABLE.assign(template=0), TABLE.assign(text=TABLE["text"] + ".")):
        with pytest.raises(UserError, match="another capture"):
            capture(shared("gpt2"), table, tmp_path, progress=False)


def test_a_plan_of_which_nothing_was_made_binds_nobody(tmp_path: Path) -> None:
    captured(tmp_path)
    for path in tmp_path.glob("shard-*"):
        path.unlink()
    assert captured(tmp_path, layers=[1]).manifest.layers == [1]


def test_a_folder_with_a_store_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    captured(tmp_path)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(UserError, match=r"no plan\.json"):
        captured(tmp_path)


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_harness import whole_file

    plain, written = whole_file._write_all, []

    def writes(writers: dict[Path, Any]) -> list[Path]:
        if len(written) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(writers)
        return plain(writers)

    monkeypatch.setattr(whole_file, "_write_all", writes)
    with pytest.raises(UserError, match=r"(?s)disk is full.*room for .* of .* shards"):
        captured(tmp_path)
    assert len(list(tmp_path.glob("shard-*"))) == 3
    assert not list(tmp_path.glob(".*"))
    monkeypatch.setattr(whole_file, "_write_all", plain)
    work = Work()
    captured(tmp_path, work).verify()
    assert work.n_computed == work.n_shards - 3


def test_shards_keep_equal_prompts_together(tmp_path: Path) -> None:
    store = captured(tmp_path)
    first = 0
    for shard in store.manifest.shards[:-1]:
        first += shard.n_rows
        assert store.index["text"][first - 1] != store.index["text"][first]


def test_shards_are_as_large_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "SHARD_ROWS", 10)
    assert shard_ends([3, 8, 12, 30, 31], 1) == [8, 12, 30, 31]
    assert shard_ends([1, 2, 3], plans.SHARD_BYTES) == [1, 2, 3]
    assert shard_ends([5], 1) == [5]


@pytest.mark.parametrize("n", [2, 3, 50])
def test_shares_of_several_processes_are_one_store(tmp_path: Path, n: int) -> None:
    captured(tmp_path / "alone")
    folder = tmp_path / "together"
    # In turn: all but the first find the manifest missing, and what was made so far stays.
    for rank in range(n - 1, 0, -1):
        with pytest.raises(UserError, match="missing, and none has come"):
            _impatient(folder, Processes(rank, n))
    _impatient(folder, Processes(0, n))
    assert content(folder) == content(tmp_path / "alone")


def _impatient(folder: Path, processes: Processes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emo_harness.activations.processes.STALLED_TIMES", 0)
        patch.setattr("emo_harness.activations.processes.STALLED_S", 0.0)
        patch.setattr("emo_harness.activations.processes.POLL_S", 0.0)
        captured(folder, processes=processes)


def test_waiting_ends_when_nothing_is_missing() -> None:
    left = iter([2, 1, 0])
    wait_until(lambda: next(left), "shards", 0.0)
    assert next(left, None) is None


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), "gpt2")


def _command(model: Path, out: Path, texts: Path) -> list[str]:
    given = {"--model": model, "--texts": texts, "--out": out, "--batch_tokens": 64}
    return ["probe", "capture", *(str(part) for pair in given.items() for part in pair)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _lines(path: Path, n: int) -> Path:
    rows = [{"text": f"The question is {i} and the key is {i * 7 % 13}"} for i in range(n)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


@pytest.mark.slow
def test_two_launched_processes_make_the_store_of_one(tmp_path: Path, model_folder: Path) -> None:
    texts = _lines(tmp_path / "texts.jsonl", 5000)
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    two = [*launch, "--cpu", "--num_processes", "2", "-m", "emo_harness"]
    for name, start in (("one", [sys.executable, "-m", "emo_harness"]), ("two", two)):
        done = subprocess.run(
            [*start, *_command(model_folder, tmp_path / name, texts)],
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.count("wrote") == 1
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.slow
def test_a_killed_capture_goes_on_with_what_is_missing(tmp_path: Path, model_folder: Path) -> None:
    texts, out = _lines(tmp_path / "texts.jsonl", 9000), tmp_path / "out"
    command = [sys.executable, "-m", "emo_harness", *_command(model_folder, out, texts)]
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL)
    while not list(out.glob("shard-*")):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(UserError, match=r"no readable manifest\.json"):
        open_activations(out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("shard-*")}
    assert before
    done = subprocess.run(
        [*command, "--json"], env=_environment(), capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["n_computed"] == told["n_shards"] - len(before) > 0
    assert before.items() <= {path: path.stat().st_mtime_ns for path in out.glob("shard-*")}.items()
    open_activations(out).verify()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "manifest.json").write_text("{"), "no JSON"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "no 'model'"),
        (lambda folder: (folder / "index.parquet").unlink(), "index.parquet"),
        (lambda folder: (folder / "shard-00000.safetensors").unlink(), "no such file"),
        (lambda folder: _cut(folder / "shard-00000.safetensors"), "bytes instead of"),
        (lambda folder: _scramble_header(folder / "shard-00000.safetensors"), "header"),
    ],
)
def test_a_broken_store_is_told_when_it_is_opened(tmp_path: Path, spoil: Any, told: str) -> None:
    captured(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=told):
        open_activations(tmp_path)


def test_changed_content_is_told_by_verify(tmp_path: Path) -> None:
    store = captured(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 255
    path.write_bytes(raw)
    with pytest.raises(UserError, match="other content"):
        store.verify()


@pytest.mark.parametrize(("site", "layers"), [("key", None), ("value", [5])])
def test_what_was_not_captured_is_told(tmp_path: Path, site: str, layers: Any) -> None:
    with pytest.raises(UserError, match=r"no (site|layer)"):
        captured(tmp_path).read(site, layers=layers)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _scramble_header(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:8] + b"x" * 8 + raw[16:])
