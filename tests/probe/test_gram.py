"""Fits from shared Gram matrices are the fits themselves."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.probe.strict.conjugate_gradients import Design, System, solve_systems
from emo_harness.probe.strict.gram import TemplateSums, gram, moments
from emo_harness.probe.strict.linear_fits import (
    lda,
    mean_difference,
    penalty_of,
    ridge,
    solve_heads,
)
from emo_harness.probe.strict.preconditioner import FullGram

N, T, D = 600, 12, 24


@pytest.fixture
def drawn() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    template = np.sort(rng.integers(0, T, N))
    x = (
        rng.standard_normal((N, D)) @ rng.standard_normal((D, D))
        + rng.standard_normal((T, D))[template]
    )
    y = np.where(rng.random((2, N)) < 0.5, 1, -1)
    x[y[0] == 1] += 0.5
    return {
        "x": x.astype(np.float32),
        "y": y,
        "template": template,
        "centres": rng.standard_normal((T, D)).astype(np.float32),
    }


def moments_of(drawn: dict[str, np.ndarray], centres: np.ndarray | None):
    x, y, template = (drawn[name] for name in ("x", "y", "template"))
    each = np.eye(T)[template].T
    sums = TemplateSums(
        each.sum(axis=1), each @ x, y @ each.T, np.stack([each @ (row[:, None] * x) for row in y])
    )
    return moments(sums, gram(x), centres)


@pytest.mark.parametrize("centred", [False, True])
def test_centring_a_gram_matrix_is_centring_the_rows(
    drawn: dict[str, np.ndarray], centred: bool
) -> None:
    centres = drawn["centres"] if centred else None
    found = moments_of(drawn, centres)
    x = drawn["x"] - (drawn["centres"][drawn["template"]] if centred else 0)
    x = x.astype(float)
    assert found.mean == pytest.approx(x.mean(axis=0), abs=1e-4)
    assert found.scatter == pytest.approx(
        (x - x.mean(axis=0)).T @ (x - x.mean(axis=0)), rel=1e-3, abs=0.05
    )
    for k, y in enumerate(drawn["y"]):
        assert found.high[k] == pytest.approx(x[y == 1].mean(axis=0), abs=1e-4)
        assert found.low[k] == pytest.approx(x[y == -1].mean(axis=0), abs=1e-4)
        assert found.products[k] == pytest.approx((y - y.mean()) @ (x - x.mean(axis=0)), abs=0.05)


def test_ridge_is_scikit_learns(drawn: dict[str, np.ndarray]) -> None:
    from sklearn.linear_model import Ridge

    found = ridge(moments_of(drawn, None), penalty=0.3)
    x = drawn["x"].astype(float)
    deviation = x.std(axis=0)
    theirs = Ridge(alpha=0.3 * N).fit((x - x.mean(axis=0)) / deviation, drawn["y"][0])
    assert found.weights[:, 0] == pytest.approx(theirs.coef_ / deviation, rel=1e-3, abs=1e-5)
    mine = x @ found.weights[:, 0] + found.intercepts[0]
    assert mine == pytest.approx(theirs.predict((x - x.mean(axis=0)) / deviation), abs=1e-3)


def test_lda_has_the_direction_and_threshold_of_scikit_learns(drawn: dict[str, np.ndarray]) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    found = lda(moments_of(drawn, None), shrinkage=0.0)
    x = drawn["x"].astype(float)
    y = drawn["y"][0]
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    mine = found.weights[:, 0] / np.linalg.norm(found.weights[:, 0])
    its = theirs.coef_[0] / np.linalg.norm(theirs.coef_)
    assert mine @ its == pytest.approx(1, abs=1e-5)
    decisions = x @ found.weights[:, 0] + found.intercepts[0]
    # Ours takes both classes as equally likely.
    equally = theirs.decision_function(x) - np.log((y == 1).sum() / (y == -1).sum())
    assert (np.sign(decisions) == np.sign(equally)).mean() > 0.995


def test_mean_difference_classifies_by_the_nearer_mean_in_raw_units(
    drawn: dict[str, np.ndarray],
) -> None:
    units = np.random.default_rng(1).uniform(0.1, 10, D)
    found = mean_difference(moments_of(drawn, None), units)
    raw, y = drawn["x"] * units, drawn["y"][0]
    to_high = np.linalg.norm(raw - raw[y == 1].mean(axis=0), axis=1)
    to_low = np.linalg.norm(raw - raw[y == -1].mean(axis=0), axis=1)
    decisions = drawn["x"] @ found.weights[:, 0] + found.intercepts[0]
    assert (np.sign(decisions) == np.sign(to_low - to_high)).mean() > 0.999


def test_heads_are_fitted_by_themselves(drawn: dict[str, np.ndarray]) -> None:
    together = solve_heads(moments_of(drawn, None), 4, [0.1, 0.2, 0.3, 0.4])
    for head in range(4):
        own = slice(head * 6, head * 6 + 6)
        alone = moments_of({**drawn, "x": drawn["x"][:, own]}, None)
        expected = ridge(alone, (head + 1) / 10).weights.T
        assert together[:, own] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_penalty_and_shrinkage_give_one_direction(drawn: dict[str, np.ndarray]) -> None:
    found = moments_of(drawn, None)
    correlation = found.scatter / found.n / np.sqrt(np.outer(found.variances, found.variances))
    shrunk = 0.7 * correlation + 0.3 * np.eye(D)
    scale = np.sqrt(found.variances)
    direct = np.linalg.solve(shrunk, (found.high[0] - found.low[0]) / scale) / scale
    mine = lda(found, 0.3).weights[:, 0]
    assert penalty_of(0.3) == pytest.approx(3 / 7)
    assert mine @ direct / np.linalg.norm(mine) / np.linalg.norm(direct) == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("centred", [False, True])
def test_conjugate_gradients_find_what_a_direct_solution_finds(
    drawn: dict[str, np.ndarray], blocks: int, centred: bool
) -> None:
    x, template, centres = drawn["x"], drawn["template"], drawn["centres"]
    rng = np.random.default_rng(2)
    counts = np.bincount(template, minlength=T).astype(np.float32)
    means = np.stack([x[template == t].mean(axis=0) for t in range(T)])
    width = D // blocks
    full = FullGram(x, [slice(k * width, (k + 1) * width) for k in range(blocks)])
    precondition = full.factorised(0.1, means, centres if centred else None, counts)
    designs, systems, expected = [], [], []
    for _ in range(3):
        train = rng.random(N) < 0.6
        used = (x - (centres[template] if centred else 0))[train].astype(float)
        around = used - used.mean(axis=0)
        design = Design(
            train,
            float(train.sum()),
            used.mean(axis=0),
            used.var(axis=0),
            centres if centred else None,
        )
        designs.append(design)
        for y in drawn["y"]:
            right = (y[train] - y[train].mean()) @ around
            systems.append(System(len(designs) - 1, 0.1, right))
            matrix = around.T @ around + design.n * 0.1 * np.diag(design.variances)
            expected.append(np.linalg.solve(matrix, right))
    found = solve_systems(x, template, designs, systems, [precondition] * 3, tolerance=1e-4)
    assert found.converged.all()
    for mine, direct in zip(found.weights, expected, strict=True):
        assert np.linalg.norm(mine - direct) < 2e-3 * np.linalg.norm(direct)


def test_a_solution_that_is_not_reached_is_reported(
    drawn: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emo_harness.probe.strict.conjugate_gradients.MOST_STEPS", 1)
    x = drawn["x"]
    design = Design(
        np.ones(N, bool), float(N), x.mean(axis=0).astype(float), x.var(axis=0).astype(float), None
    )
    found = solve_systems(
        x,
        drawn["template"],
        [design],
        [System(0, 1e-3, x[0].astype(float))],
        [lambda r: r.copy()],
        1e-6,
    )
    assert not found.converged.any()
