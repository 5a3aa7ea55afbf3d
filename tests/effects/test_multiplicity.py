from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from emo_harness.effects import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40)
METHODS = [(holm, "holm"), (benjamini_hochberg, "fdr_bh")]


@pytest.mark.parametrize(("correct", "name"), METHODS)
@pytest.mark.parametrize("k", [1, 3, 27])
def test_corrections_are_those_of_statsmodels(correct, name: str, k: int) -> None:
    p = np.random.default_rng(k).choice([0.0, 1e-9, 0.004, 0.02, 0.02, 0.3, 1.0], k)
    np.testing.assert_allclose(correct(p), multipletests(p, method=name)[1], atol=1e-10)


@pytest.mark.parametrize(("correct", "name"), METHODS)
@given(p=P_VALUES)
def test_unknown_p_values_stay_unknown_and_are_not_counted(correct, name: str, p: list) -> None:
    holed = np.array([np.nan, *p, np.nan])
    corrected = correct(holed)
    assert np.isnan(corrected[[0, -1]]).all()
    np.testing.assert_array_equal(corrected[1:-1], correct(p))


@given(P_VALUES)
def test_corrected_p_values_are_no_smaller_and_holms_no_smaller_than_benjamini_hochbergs(
    p: list[float],
) -> None:
    assert (np.array(p) <= benjamini_hochberg(p) + 1e-15).all()
    assert (benjamini_hochberg(p) <= holm(p) + 1e-15).all()
    assert (holm(p) <= 1).all()


def test_one_claim_is_not_corrected_and_none_is_no_error() -> None:
    assert holm([0.03]) == benjamini_hochberg([0.03]) == 0.03
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
    assert np.isnan(holm([np.nan])).all()
