"""fit_logistic finds scikit-learn's minimum, in fewer steps, and says when it did not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from emo_harness.probe.logistic import LogisticFit, fit_logistic


def problem(
    n: int, d: int, strength: float, *, share: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features with a spectrum that falls, and labels that follow a direction."""
    rng = np.random.default_rng(seed)
    scales = (1.0 + np.arange(d)) ** -0.8
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    x = (rng.standard_normal((n, d)) * scales) @ rotation
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    score = x @ rng.standard_normal(d)
    score = strength * score / score.std() + rng.logistic(size=n)
    return x.astype(np.float32), score > np.quantile(score, 1 - share)


def loss_of(coef: np.ndarray, intercept: float, x: np.ndarray, y: np.ndarray, c: float) -> float:
    margins = np.where(y, 1, -1) * (x.astype(np.float64) @ coef + intercept)
    return float(np.logaddexp(0, -margins).mean() + coef @ coef / (2 * c * len(y)))


def theirs(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=100)
    return model.fit(x.astype(np.float64), y)


SIGNALS = pytest.mark.parametrize("strength", [5.0, 0.5, 0.0], ids=["strong", "weak", "none"])
SHAPES = pytest.mark.parametrize(
    ("n", "d", "c", "share"),
    [(600, 60, 1.0, 0.5), (600, 60, 1.0, 0.05), (600, 60, 0.01, 0.5), (120, 300, 1.0, 0.5)],
    ids=["tall", "unbalanced", "strong penalty", "wide"],
)


@SIGNALS
@SHAPES
def test_the_minimum_is_that_of_scikit_learn(
    n: int, d: int, c: float, share: float, strength: float
) -> None:
    x, y = problem(n, d, strength, share=share)
    ours = fit_logistic(x.astype(np.float64), y, penalty_c=c, tolerance=1e-8)
    peer = theirs(x, y, c)
    assert ours.converged
    assert ours.loss == pytest.approx(loss_of(peer.coef_[0], peer.intercept_[0], x, y, c), rel=1e-9)
    assert np.linalg.norm(ours.coef - peer.coef_[0]) <= 1e-3 * np.linalg.norm(peer.coef_)
    assert ours.intercept == pytest.approx(peer.intercept_[0], abs=1e-3)


@SIGNALS
@SHAPES
def test_in_float32_the_loss_is_least_and_coefficients_are_close(
    n: int, d: int, c: float, share: float, strength: float
) -> None:
    x, y = problem(n, d, strength, share=share)
    ours = fit_logistic(x, y, penalty_c=c, tolerance=3e-5)
    peer = theirs(x, y, c)
    least = loss_of(peer.coef_[0], peer.intercept_[0], x, y, c)
    assert ours.converged
    assert ours.loss == pytest.approx(least, rel=1e-5)
    assert np.linalg.norm(ours.coef - peer.coef_[0]) <= 0.02 * np.linalg.norm(peer.coef_)


@SIGNALS
@SHAPES
def test_the_loss_is_no_greater_than_lbfgs_of_scikit_learn_reaches(
    n: int, d: int, c: float, share: float, strength: float
) -> None:
    x, y = problem(n, d, strength, share=share)
    ours = fit_logistic(x, y, penalty_c=c)
    peer = LogisticRegression(C=c, max_iter=5000).fit(x, y)
    assert ours.converged
    reached = loss_of(peer.coef_[0], peer.intercept_[0], x, y, c)
    assert loss_of(ours.coef, ours.intercept, x, y, c) <= reached * (1 + 1e-5)


@SIGNALS
def test_a_falling_spectrum_takes_a_fraction_of_the_steps_of_plain_lbfgs(strength: float) -> None:
    x, y = problem(1500, 600, strength)
    peer = LogisticRegression(max_iter=5000).fit(x, y)
    assert fit_logistic(x, y).n_iterations <= peer.n_iter_[0] / 4


def test_features_need_not_be_centred() -> None:
    x, y = problem(500, 40, 2.0)
    moved = x + np.linspace(-3, 3, 40, dtype=np.float32)
    peer = theirs(moved, y, 1.0)
    ours = fit_logistic(moved, y, tolerance=3e-5)
    assert ours.converged
    np.testing.assert_allclose(ours.coef, peer.coef_[0], atol=0.01)
    np.testing.assert_allclose(ours.decision(moved), peer.decision_function(moved), atol=0.02)


def test_float64_features_are_fitted_in_float64() -> None:
    x, y = problem(300, 20, 1.0)
    exact = x.astype(np.float64)
    ours = fit_logistic(exact, y, tolerance=1e-9)
    peer = theirs(exact, y, 1.0)
    assert ours.converged
    np.testing.assert_allclose(ours.coef, peer.coef_[0], atol=1e-7)
    assert ours.decision(exact).dtype == np.float64


def test_turning_the_labels_round_turns_the_axis_round() -> None:
    x, y = problem(400, 30, 1.0)
    one, other = (fit_logistic(x, labels, tolerance=3e-5) for labels in (y, ~y))
    np.testing.assert_allclose(one.coef, -other.coef, atol=1e-3)
    assert one.loss == pytest.approx(other.loss, rel=1e-6)


def test_too_few_iterations_are_told() -> None:
    x, y = problem(400, 100, 0.5)
    fit = fit_logistic(x, y, max_iterations=2)
    assert not fit.converged
    assert fit.n_iterations == 2
    assert fit.gradient > 1e-4


def test_the_gradient_is_that_of_the_loss_by_coef_and_intercept() -> None:
    x, y = problem(200, 10, 1.0)
    x = x + 2
    fit: LogisticFit = fit_logistic(x, y, max_iterations=1)
    at, step, slopes = np.append(fit.coef, fit.intercept), 1e-5, []
    for place in range(11):
        up, down = (at + sign * step * (np.arange(11) == place) for sign in (1, -1))
        slopes.append(
            (loss_of(up[:-1], up[-1], x, y, 1.0) - loss_of(down[:-1], down[-1], x, y, 1.0))
            / (2 * step)
        )
    assert fit.gradient == pytest.approx(np.abs(slopes).max(), rel=1e-3)


def test_constant_and_repeated_features_do_no_harm() -> None:
    x, y = problem(300, 20, 1.0)
    more = np.hstack([x, x, np.zeros((300, 3), np.float32)])
    fit = fit_logistic(more, y)
    assert fit.converged
    np.testing.assert_allclose(fit.coef[:20], fit.coef[20:40], atol=1e-3)
    np.testing.assert_allclose(fit.coef[40:], 0, atol=1e-6)
    nothing = fit_logistic(np.zeros((300, 3), np.float32), y)
    assert nothing.converged
    assert nothing.intercept == pytest.approx(np.log(y.mean() / (1 - y.mean())), abs=1e-2)


@pytest.mark.parametrize("broken", ["one class", "nan"])
def test_what_cannot_be_fitted_is_refused(broken: str) -> None:
    x, y = problem(50, 5, 1.0)
    if broken == "nan":
        x[3, 2] = np.nan
    else:
        y[:] = True
    with pytest.raises(ValueError, match="one class" if broken == "one class" else "finite"):
        fit_logistic(x, y)
