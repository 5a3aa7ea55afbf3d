"""Texts of the Emo_LLM protocol, in the layout of its own result files, and its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_harness.probe.emo_llm.draws import PARTS, Prompts
from emo_harness.whole_file import Writer, text_writer, write_folder

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations
    from emo_harness.probe.emo_llm.protocol import SeedAnswers
    from emo_harness.probe.evaluation import Evaluation

WEIGHTS = "weights.safetensors"
_METHODS = {"logistic": ("lr", "LINEAR"), "knn": ("knn", "KNN")}
_MEANING = {"E1": "unseen adjectives", "E2": "unseen templates", "E3": "unseen pairs"}
_DOING = "writing the results of the protocol emo-llm"


def write_seed(
    folder: Path, store: Activations, dimension: str, prompts: Prompts, seed: SeedAnswers
) -> None:
    """Write one seed's texts and weights.

    results.txt, {lr,knn}_classifier_eval_e{1,2,3}.txt, and weights.safetensors: coef (1, d) and
    intercept (1,) for standardised features, mean and scale (d,) that standardise them.

    Raises:
        UserError: the folder cannot be written.
    """
    reports = {
        (method, part): classification_text(prompts, seed, method, part)
        for part in PARTS
        for method in seed.answers
    }
    writers: dict[str, Writer] = {"results.txt": text_writer(results_text(reports))}
    for (method, part), text in reports.items():
        name = f"{_METHODS[method][0]}_classifier_eval_{part.lower()}.txt"
        writers[name] = text_writer(text)
    writers[WEIGHTS] = _weights_writer(store, dimension, prompts, seed)
    write_folder(folder, writers, _DOING)


def classification_text(prompts: Prompts, seed: SeedAnswers, method: str, part: str) -> str:
    """scikit-learn's table of precision, recall, F1 and support, of labels 0 and 1."""
    from sklearn.metrics import classification_report

    numbers = seed.drawn.parts[part]
    if not len(numbers):
        return f"no prompt was drawn into {part}\n"
    truth, answers = prompts.label[numbers], seed.answers[method][part]
    return str(
        classification_report(
            truth.astype(int), answers.astype(int), labels=[0, 1], zero_division=0.0
        )
    )


def results_text(reports: Mapping[tuple[str, str], str]) -> str:
    """All reports of a seed under their headings."""
    lines = ["=== USE_PCA = False ==="]
    for (method, part), text in reports.items():
        lines += [f"=== {part} {_METHODS[method][1]} CLASSIFIER EVAL ===", text]
    return "\n".join(lines) + "\n"


def comparison(evaluations: Sequence[Evaluation]) -> tuple[list[str], list[tuple[list[str], bool]]]:
    """A table with the published figures beside ours: its headings, and cells with bold or not."""
    from emo_harness.probe.emo_llm.protocol import METHODS, PUBLISHED, row_of

    columns = [""]
    for part in PARTS:
        columns += [f"{part} {_MEANING[part]}", "published"]
    rows = []
    for evaluation in evaluations:
        (dimension,) = evaluation.dimensions
        for method in METHODS:
            found = {part: row_of(evaluation, method, part) for part in PARTS}
            figures = PUBLISHED.get(dimension, {}).get(method, ("", "", ""))
            cells = [f"{dimension}, {method}"]
            for (_, row), figure in zip(found.items(), figures, strict=True):
                cells += [_cell(row), f"{figure:.2f}" if figure else ""]
            if any(found.values()):
                rows.append((cells, method == METHODS[0]))
    return columns, rows


def _cell(row: Mapping[str, Any] | None) -> str:
    """Mean and standard deviation over seeds."""
    if row is None or math.isnan(row["accuracy"]):
        return "unknown"
    deviation = row["sd_over_seeds"]
    return f"{row['accuracy']:.2f}" + ("" if math.isnan(deviation) else f" ± {deviation:.2f}")


def _weights_writer(
    store: Activations, dimension: str, prompts: Prompts, seed: SeedAnswers
) -> Writer:
    from safetensors.numpy import save

    tensors = {
        "coef": np.ascontiguousarray(seed.fit.coef[None]),
        "intercept": np.array([seed.fit.intercept]),
        "mean": seed.mean,
        "scale": seed.scale,
    }
    facts = {
        "dimension": dimension,
        "label_1": f"{prompts.first_class}, XOR negation",
        "layers": json.dumps(store.manifest.layers),
        "shape": json.dumps([len(store.manifest.layers), *store.shape("value")]),
        "converged": json.dumps(seed.fit.converged),
    }
    # Written by us: safetensors tells of a full disk by an error that is no OSError.
    return lambda path: path.write_bytes(save(tensors, facts))
