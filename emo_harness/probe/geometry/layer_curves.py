"""Layer curves: an evaluation's accuracies by layer and by head, as a picture needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emo_harness.errors import UserError, quoted

RESULTS, FACTS = "results.parquet", "evaluation.json"
SPLITS = ("E1", "E2", "E3", "E4")
# Which method speaks where several were fitted by layer: fixed, so that no result chooses it.
PREFERRED = ("logistic", "ridge", "lda", "mean-difference", "knn")
FEATURES = ("centred", "centred-neutral", "raw")
NEEDED = (
    "dimension",
    "site",
    "features",
    "method",
    "kind",
    "layer",
    "head",
    "split",
    "subset",
    "accuracy",
    "low",
    "high",
)
VERDICT = ("dimension", "features", "method", "split", "subset", "text")
Row = dict[str, Any]


def read_results(folder: Path) -> pd.DataFrame:
    """An evaluation's results, one row each.

    Raises:
        UserError: there are none in the folder, or not with the columns of one.
    """
    path = folder / RESULTS
    doing = f"reading the evaluation in {folder}"
    fix = "name a folder that `emo probe evaluate STORE --out FOLDER` wrote"
    if not path.is_file():
        raise UserError(doing, found=f"no {RESULTS}", expected="an evaluation", fix=fix)
    try:
        found = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(doing, found=f"{RESULTS}: {error}", expected="a table", fix=fix) from error
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise UserError(doing, found=f"no column {quoted(missing)}", expected="a table", fix=fix)
    return found


def read_verdicts(folder: Path) -> list[Row]:
    """What an evaluation concluded: `text`, and of which probe; [] where it concluded nothing.

    Raises:
        UserError: its facts are no JSON.
    """
    path = folder / FACTS
    if not path.is_file():
        return []
    try:
        told = json.loads(path.read_text("utf-8")).get("verdicts") or []
    except ValueError as error:
        raise UserError(
            f"reading {path}", found=f"{error}", expected="JSON", fix="evaluate again"
        ) from error
    return [
        {name: str(one[name]) for name in VERDICT}
        for one in told
        if isinstance(one, dict) and set(VERDICT) <= set(one)
    ]


def layer_curves(results: pd.DataFrame) -> list[Row]:
    """One entry per dimension, site and form of the features, as JSON values.

    Each has `dimension`, `site`, `features`, `method`; `curves` by split; `pooled`, all layers
    together, by split and method; `controls` of the strictest split there is (E4): their `name`,
    whether they are `informative`, their points; `heads`: accuracies by layer and head of that
    split. A curve's points have `layer`, `accuracy`, `low`, `high`.
    """
    if "statistic" in results:
        results = results[results["statistic"] == "accuracy"]
    results = results[results["subset"] == "all"]
    found = []
    for key, own in results.groupby(["dimension", "site", "features"], sort=False):
        made = _entry(own)
        if made is not None:
            found.append({**dict(zip(("dimension", "site", "features"), key, strict=True)), **made})
    order = {name: i for i, name in enumerate(FEATURES)}
    return sorted(
        found,
        key=lambda e: (
            e["dimension"] != "valence",
            e["dimension"],
            e["site"],
            order.get(e["features"], 9),
        ),
    )


def _entry(own: pd.DataFrame) -> Row | None:
    probes = own[own["kind"] == "probe"]
    by_layer = probes[probes["layer"].notna() & probes["head"].isna()]
    by_head = probes[probes["head"].notna()]
    pooled = probes[probes["layer"].isna() & probes["head"].isna()]
    if by_layer.empty and by_head.empty:
        return None
    method = _method(by_layer if not by_layer.empty else by_head)
    curves = {
        split: _points(by_layer[(by_layer["method"] == method) & (by_layer["split"] == split)])
        for split in _splits(by_layer)
    }
    strictest = max(_splits(probes), default="E4")
    controls = own[(own["kind"] == "control") & (own["split"] == strictest)]
    if "of" in controls:
        # A control that repeats a method is that of the method shown.
        other = controls["of"].fillna("").isin(set(probes["method"]) - {method})
        controls = controls[~other & controls["head"].isna()]
    return {
        "method": method,
        "strictest": strictest,
        "curves": {split: points for split, points in curves.items() if points},
        "pooled": {
            f"{split}, {name}": _point(rows.iloc[0])
            for (split, name), rows in pooled.groupby(["split", "method"], sort=False)
        },
        "controls": [
            {
                "name": str(name),
                "informative": bool(rows["informative"].all()) if "informative" in rows else True,
                "points": _points(rows[rows["layer"].notna() & rows["head"].isna()]),
                "pooled": [_point(row) for _, row in rows[rows["layer"].isna()].iterrows()][:1],
            }
            for name, rows in controls.groupby("method", sort=False)
        ],
        "heads": _heads(by_head, strictest),
        "n_words": _most(probes, "n_words"),
        "n_templates": _most(probes, "n_templates"),
    }


def _heads(by_head: pd.DataFrame, split: str) -> Row | None:
    own = by_head[by_head["split"] == split]
    if own.empty:
        return None
    method = _method(own)
    own = own[own["method"] == method]
    table = own.pivot_table(index="layer", columns="head", values="accuracy", aggfunc="first")
    low = own.pivot_table(index="layer", columns="head", values="low", aggfunc="first")
    low = low.reindex(index=table.index, columns=table.columns)
    return {
        "method": method,
        "split": split,
        "layers": [int(v) for v in table.index],
        "heads": [int(v) for v in table.columns],
        "accuracy": [[_number(v) for v in row] for row in table.to_numpy(np.float64)],
        "low": [[_number(v) for v in row] for row in low.to_numpy(np.float64)],
    }


def _method(rows: pd.DataFrame) -> str:
    methods = list(dict.fromkeys(rows["method"]))
    return str(next((m for m in PREFERRED if m in methods), methods[0]))


def _splits(rows: pd.DataFrame) -> list[str]:
    there = set(rows["split"])
    return [split for split in SPLITS if split in there]


def _points(rows: pd.DataFrame) -> list[Row]:
    return [
        {"layer": int(row["layer"]), **_point(row)}
        for _, row in rows.sort_values("layer").drop_duplicates("layer").iterrows()
    ]


def _point(row: pd.Series) -> Row:
    return {name: _number(row[name]) for name in ("accuracy", "low", "high")}


def _most(rows: pd.DataFrame, name: str) -> int | None:
    return int(rows[name].max()) if name in rows and rows[name].notna().any() else None


def _number(value: Any) -> float | None:
    number = float("nan") if value is pd.NA else float(value)
    return round(number, 5) if np.isfinite(number) else None
