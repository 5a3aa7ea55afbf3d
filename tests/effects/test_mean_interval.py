"""A mean's interval is Student's, against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from emo_harness.effects.mean_interval import mean_interval


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.array([1.0, 2.0, 4.0, math.nan, 3.5])
    known = values[~np.isnan(values)]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 3, known.mean(), stats.sem(known))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(known, 0).pvalue)
    assert mean_interval(np.array([])).n == 0
