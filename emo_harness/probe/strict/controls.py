"""Controls: what a probe would score if it saw less than the activations.

Ridge regressions on the same rows, splits and labels, on features that know no context:

    bag of words        the words of the prompt
    static embedding    mean input embedding of the adjective
    token count         of the prompt and of the adjective
    template only       which template it is, and its words outside the slot

The answer is pole XOR negation, so that no sum of a word's part and a template's part can give it:
over all prompts these four sit at chance by construction and are marked uninformative. Their
versions "x negation flag", which see their features once as they are and once with the template's
sign, can compose, and so can all four within prompts that negate, or that do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.linear_fits import RIDGE_PENALTY
from emo_harness.probe.strict.rounds import TRUE, Round
from emo_harness.probe.strict.splits import PARTS
from emo_harness.probe.strict.tally import Key, Tally
from emo_harness.probe.targets import Bools, Ints, Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
BAG_OF_WORDS = "bag of words"
EMBEDDING = "static embedding"
TOKEN_COUNT = "token count"  # noqa: S105
TEMPLATE_ONLY = "template only"
FLAG = " x negation flag"
LAYER_0 = "layer 0"
_WORD = re.compile(r"\w+(?:['’]\w+)?")


@dataclass(frozen=True, eq=False)
class Control:
    """Features of n rows, of which many are equal.

    Attributes:
        name: of the control.
        code: (n,) row of the table.
        table: (m, d) float64, a numpy array or a scipy.sparse one.
    """

    name: str
    code: Ints
    table: Any


def controls_of(targets: Targets, embeddings: Floats | None) -> list[Control]:
    """Those that the rows allow.

    Args:
        embeddings: (n_spans, hidden_size), or None where there are none.
    """
    found = [_bag_of_words(targets)]
    if embeddings is not None and (targets.span_id >= 0).all():
        ids, code = np.unique(targets.span_id, return_inverse=True)
        found.append(Control(EMBEDDING, code, embeddings[ids].astype(np.float64)))
    if (targets.n_tokens >= 0).all():
        found.append(_token_count(targets))
    found.append(_template_only(targets))
    return found


def flagged(control: Control, targets: Targets) -> Control:
    """The control together with itself times the template's sign, and with the sign alone."""
    from scipy import sparse

    joint = control.code * 2 + targets.negated
    pairs, code = np.unique(joint, return_inverse=True)
    table = control.table[pairs // 2]
    sign = np.where(pairs % 2, -1.0, 1.0)
    if sparse.issparse(table):
        turned = sparse.diags_array(sign) @ table
        both = sparse.hstack([table, turned, sign[:, None]]).tocsr()
    else:
        both = np.hstack([table, table * sign[:, None], sign[:, None]])
    return Control(control.name + FLAG, code, both)


def probe_controls(
    targets: Targets, rounds: Sequence[Round], embeddings: Floats | None
) -> list[Tally]:
    """Fit and ask every control in every seed: on all rows, and within either subset."""
    plain = controls_of(targets, embeddings)
    composing = [flagged(c, targets) for c in plain if c.name in (BAG_OF_WORDS, EMBEDDING)]
    tallies = []
    for subset in targets.subsets:
        asked = plain + (composing if subset == "all" and len(targets.subsets) > 1 else [])
        pooled = subset == "all" and len(targets.subsets) > 1
        keys = [
            Key(c.name, "control", not pooled or c.name.endswith(FLAG), subset=subset)
            for c in asked
        ]
        tally = Tally(targets, keys, PARTS)
        own = targets.subset(subset)
        for one in rounds:
            train = one.split.train.copy()
            train[: own.start] = train[own.stop :] = False
            held_out = one.held_out
            held_out = held_out[(held_out >= own.start) & (held_out < own.stop)]
            answers = [fit_control(c, train, one.labels[TRUE])[c.code[held_out]] for c in asked]
            tally.add(one.split, np.stack(answers).astype(np.float32), one.labels[TRUE])
        tallies.append(tally)
    return tallies


def fit_control(
    control: Control, train: Bools, labels: NDArray[Any], penalty: float = RIDGE_PENALTY
) -> Doubles:
    """(m,) decisions for the rows of a control's table, fitted on the training rows.

    Ridge on standardised features, least-squares intercept, as for activations: solved in whichever
    of features or different rows are fewer.
    """
    from scipy import sparse

    m = control.table.shape[0]
    times = np.bincount(control.code[train], minlength=m).astype(float)
    n = times.sum()
    y = np.bincount(control.code[train], labels[train], m)
    y_mean = float(y.sum() / n)
    table = control.table
    mean = np.asarray(times @ table).ravel() / n
    squares = table.power(2) if sparse.issparse(table) else np.square(table)
    variances = np.maximum(np.asarray(times @ squares).ravel() / n - mean**2, 0)
    scale = np.where(variances > 1e-9, 1 / np.sqrt(np.maximum(variances, 1e-9)), 0.0)
    residual = y - times * y_mean
    if m <= table.shape[1]:
        dense = (table.toarray() if sparse.issparse(table) else table) - mean
        dense = dense * scale
        root = np.sqrt(times)
        kernel = root[:, None] * (dense @ dense.T) * root
        kernel[np.diag_indices_from(kernel)] += n * penalty
        right = np.divide(residual, root, out=np.zeros(m), where=root > 0)
        weights = dense.T @ (root * np.linalg.solve(kernel, right))
        return np.asarray(dense @ weights + y_mean)
    if sparse.issparse(table):
        weighted = sparse.diags_array(times) @ table
        product = (table.T @ weighted).toarray()
    else:
        product = table.T @ (times[:, None] * table)
    product = scale[:, None] * (product - n * np.outer(mean, mean)) * scale
    product[np.diag_indices_from(product)] += n * penalty
    right = scale * (np.asarray(residual @ table).ravel() - residual.sum() * mean)
    weights = scale * np.linalg.solve(product, right)
    return np.asarray(table @ weights).ravel() - float(mean @ weights) + y_mean


def _bag_of_words(targets: Targets) -> Control:
    """One column per word that occurs anywhere; an adjective of several words is one word."""
    from scipy import sparse

    cells, first, code = np.unique(targets.cell, return_index=True, return_inverse=True)
    outside = _outside(targets)
    at = targets.template[first]
    in_template = sparse.csr_matrix(outside[at])
    n = len(cells)
    word = sparse.csr_matrix(
        (np.ones(n), (np.arange(n), targets.word[first])), shape=(n, len(targets.words))
    )
    return Control(BAG_OF_WORDS, code, sparse.hstack([in_template, word]).tocsr())


def _token_count(targets: Targets) -> Control:
    counts = np.stack([targets.n_tokens, targets.span_tokens], axis=1)
    pairs, code = np.unique(counts, axis=0, return_inverse=True)
    columns = [pairs[:, k, None] == np.unique(pairs[:, k]) for k in range(2)]
    table = np.hstack([*columns, pairs]).astype(np.float64)
    return Control(TOKEN_COUNT, code.ravel(), table)


def _template_only(targets: Targets) -> Control:
    table = np.hstack([_outside(targets), np.eye(len(targets.negates))])
    return Control(TEMPLATE_ONLY, targets.template, table)


def _outside(targets: Targets) -> Doubles:
    """(T, vocabulary) which words each template has outside its slot."""
    said = [set(_WORD.findall(text.replace("{}", " ").lower())) for text in targets.template_texts]
    vocabulary = {word: k for k, word in enumerate(sorted(set().union(*said)))}
    found = np.zeros((len(said), max(len(vocabulary), 1)))
    for row, words in enumerate(said):
        found[row, [vocabulary[word] for word in words]] = 1
    return found
