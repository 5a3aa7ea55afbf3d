from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.probe.corpus import load_corpus
from emo_harness.probe.corpus.norms import load_norms
from emo_harness.probe.corpus.token_lints import auc

# Values are invented; only the layouts are those of the published files.
WARRINER = (
    '"","Word","V.Mean.Sum","V.SD.Sum","V.Rat.Sum","A.Mean.Sum","A.SD.Sum","D.Mean.Sum"\n'
    '"1","glad",8.5,1,20,5.5,2,6\n"2","sad",1.5,1,20,3,2,4\n'
)
NRC_1_HEADER = "Word\tValence\tArousal\tDominance\nglad\t0.875\t0.5\t0.5\nsad\t0.125\t0.25\t0.25\n"
NRC_1_BARE = "glad\t0.875\t0.5\t0.5\nsad\t0.125\t0.25\t0.25\n"
NRC_2 = "term\tvalence\tarousal\tdominance\nglad\t0.75\t0\t0\nsad\t-0.75\t-0.5\t-0.5\n"
GLASGOW = (
    "words,length,AROU,,,VAL,,,DOM,,\n"
    ",,M,SD,N,M,SD,N,M,SD,N\n"
    "glad,4,5,1,30,8,1,30,6,1,30\n"
    "sad,3,3,1,30,2,1,30,4,1,30\n"
)
VADER = (
    '"}{"\t1.6\t0.6\t[1, 2]\nglad\t3.0\t0.5\t[3, 3]\nsad\t-3.0\t0.5\t[-3, -3]\n'
    "sob\t-2.0\t1\t[-2]\nsob\t-1.0\t1\t[-1]\n"
)
PLAIN = "word,valence,arousal\nglad,70,10\nsad,-30,NA\nok,20,0\n"


@pytest.mark.parametrize(
    ("text", "layout", "scale", "glad", "sad"),
    [
        (WARRINER, "warriner", (1, 9), 8.5, 1.5),
        (NRC_1_HEADER, "nrc-vad", (0, 1), 0.875, 0.125),
        (NRC_1_BARE, "nrc-vad", (0, 1), 0.875, 0.125),
        (NRC_2, "nrc-vad-2", (-1, 1), 0.75, -0.75),
        (GLASGOW, "glasgow", (1, 9), 8, 2),
        (VADER, "vader", (-4, 4), 3, -3),
        (PLAIN, "plain", (-30, 70), 70, -30),
        (PLAIN.replace(",", ";"), "plain", (-30, 70), 70, -30),
        (PLAIN.replace(",", "\t"), "plain", (-30, 70), 70, -30),
        ("arousal,word,valence\n1,glad,70\n0,sad,-30\n", "plain", (-30, 70), 70, -30),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_layouts_are_recognised(
    tmp_path: Path,
    text: str,
    layout: str,
    scale: tuple[float, float],
    glad: float,
    sad: float,
    newline: str,
) -> None:
    path = tmp_path / "norms.csv"
    path.write_bytes(text.replace("\n", newline).encode())
    norms = load_norms(path, "valence")
    assert (norms.layout, norms.scale, norms.dimension) == (layout, scale, "valence")
    found = norms.of(["glad", "Sad", "nowhere"])
    assert found[:2].tolist() == [glad, sad] and math.isnan(found[2])
    # Turning the scale's values into signed ones keeps their order and their distances' ratios.
    low, high = scale
    signed = norms.signed(["glad", "sad"])
    assert np.allclose((signed + 1) / 2 * (high - low) + low, [glad, sad])
    assert (np.abs(signed) <= 1).all()


@pytest.mark.parametrize(
    ("text", "glad", "sad"), [(WARRINER, 5.5, 3), (GLASGOW, 5, 3), (NRC_2, 0, -0.5)]
)
def test_arousal_comes_from_its_own_column(
    tmp_path: Path, text: str, glad: float, sad: float
) -> None:
    path = tmp_path / "norms.csv"
    path.write_text(text)
    assert load_norms(path, "arousal").of(["glad", "sad"]).tolist() == [glad, sad]


def test_missing_values_are_left_out_and_repeated_ones_averaged(tmp_path: Path) -> None:
    plain, vader = tmp_path / "plain.csv", tmp_path / "vader.txt"
    plain.write_text(PLAIN)
    assert set(load_norms(plain, "arousal").values) == {"glad", "ok"}
    vader.write_text(VADER)
    norms = load_norms(vader, "valence")
    assert norms.values["sob"] == -1.5 and norms.repeated == ("sob",)


@pytest.mark.parametrize(
    ("text", "dimension", "told"),
    [
        ("", "valence", "an empty file"),
        ("alpha,beta\n1,2\n", "valence", "a first row"),
        (PLAIN, "dominance", "a dimension among valence, arousal"),
        (PLAIN, "word", "without word"),
        (VADER, "arousal", "without arousal"),
        ("word,valence\n", "valence", "no word with a value"),
        ("word,valence\nglad,x\n", "valence", "row 2"),
        ("word,valence\nglad,nan\nsad,inf\n", "valence", "row 3"),
        (WARRINER.replace("8.5", "85"), "valence", "from 1 to 9"),
        ("word,valence\nglad,1\nsad,1\n", "valence", "one and the same value"),
    ],
)
def test_what_is_no_norms_is_refused(tmp_path: Path, text: str, dimension: str, told: str) -> None:
    path = tmp_path / "norms.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_norms(path, dimension)
    assert told in str(error.value) and "norms.csv" in str(error.value)


def test_an_openly_licensed_lexicon_agrees_with_our_poles() -> None:
    vader = pytest.importorskip("vaderSentiment")
    norms = load_norms(Path(vader.__file__).parent / "vader_lexicon.txt", "valence")
    assert norms.layout == "vader"
    words = load_corpus().words
    by_pole = {
        pole: norms.of([word.text for word in words if word.poles.get("valence") == pole])
        for pole in (1, -1)
    }
    high, low = (values[~np.isnan(values)] for values in (by_pole[1], by_pole[-1]))
    assert min(len(high), len(low)) >= 80
    assert auc(high.tolist(), low.tolist()) > 0.95
