"""Fitting probes: prints one JSON line.

    python perf/probe_fit.py                            # logistic fits at 18,856 x 9,216
    python perf/probe_fit.py --rows 4000 --columns 2304 # smaller
    python perf/probe_fit.py --evaluate                 # `emo probe evaluate` on 48,260 x 9,216

Fits: ours and scikit-learn's solvers on features whose spectrum falls (variance of component k as
k^-1.6, standardised) and labels that follow a direction: easily (strongly, along the greatest
components), strongly or weakly; interleaved, in this process. Losses are computed again in float64,
one way for all. A peer "reaches" the loss if its own is at most 1e-4 above ours, relatively; ratios
are ours over the fastest peer, among those that reach it and among all.

Evaluation: `emo probe evaluate --dimension valence` with its defaults, as a process of its own, on
190 words x 254 templates of float16 value vectors: words, templates and their products in a few
hundred directions, and valence along one per layer from a third of the layers on. The peak is of
resident memory, in which pages of the mapped store count.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.fft import dct

from emo_harness.activations.store import (
    INDEX,
    MANIFEST,
    Manifest,
    ModelFacts,
    Shard,
    sha256_of,
)
from emo_harness.probe.logistic import fit_logistic

Floats = NDArray[np.float32]
PEERS = ("lbfgs", "newton-cg", "newton-cholesky")
# Strength against logistic noise of variance 3.3, and whether along the greatest components.
SIGNALS = {"easy": (20.0, True), "strong": (5.0, False), "weak": (0.5, False)}
REACHES = 1e-4
N_WORDS, N_TEMPLATES = 190, 254
TEMPLATES_PER_SHARD = 16
N_DIRECTIONS = 128


def features(n: int, d: int, rng: np.random.Generator) -> Floats:
    """(n, d) standardised, of a falling spectrum in a basis that mixes all features."""
    x = np.empty((n, d), np.float32)
    falling = np.power(np.arange(1, d + 1), -0.8)
    scales = np.asarray(falling * rng.choice([-1, 1], d), np.float32)
    order = rng.permutation(d)
    for first in range(0, n, 1024):
        block = rng.standard_normal((min(1024, n - first), d), dtype=np.float32) * scales
        x[first : first + 1024] = dct(block, norm="ortho", overwrite_x=True)[:, order]
    x -= x.mean(axis=0)
    x /= x.std(axis=0)
    return x


def labels(x: Floats, signal: str, rng: np.random.Generator) -> NDArray[np.bool_]:
    strength, along_greatest = SIGNALS[signal]
    direction = rng.standard_normal(x.shape[1]).astype(np.float32)
    if along_greatest:
        direction = (x @ direction) @ x
    score = x @ direction
    return strength * score / score.std() + rng.logistic(size=len(x)) > 0


def loss(coef: NDArray[np.float64], intercept: float, x: Floats, y: NDArray[np.bool_]) -> float:
    total, signs = 0.0, np.where(y, 1, -1)
    for first in range(0, len(x), 1024):
        rows = slice(first, first + 1024)
        margins = signs[rows] * (x[rows].astype(np.float64) @ coef + intercept)
        total += float(np.logaddexp(0, -margins).sum())
    return total / len(x) + float(coef @ coef) / (2 * len(x))


def ours(
    x: Floats, y: NDArray[np.bool_], most: int
) -> tuple[NDArray[np.float64], float, int, bool]:
    fit = fit_logistic(x, y, max_iterations=most)
    return fit.coef, fit.intercept, fit.n_iterations, fit.converged


def peer(solver: str) -> Callable[..., tuple[NDArray[np.float64], float, int, bool]]:
    def fitted(
        x: Floats, y: NDArray[np.bool_], most: int
    ) -> tuple[NDArray[np.float64], float, int, bool]:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(solver=solver, max_iter=most).fit(x, y)
        n = int(model.n_iter_[0])
        return model.coef_[0].astype(np.float64), float(model.intercept_[0]), n, n < most

    return fitted


def fits(args: argparse.Namespace) -> Iterator[dict[str, object]]:
    solvers = {"ours": ours} | {name: peer(name) for name in args.peers}
    x = features(args.rows, args.columns, np.random.default_rng(0))
    for name in args.signals:
        y = labels(x, name, np.random.default_rng(1))
        told: dict[str, dict[str, object]] = {}
        seconds: dict[str, list[float]] = {solver: [] for solver in solvers}
        for _ in range(args.repeats):
            for solver, fitted in solvers.items():
                started = time.perf_counter()
                coef, intercept, n_iterations, converged = fitted(x, y, args.iterations)
                seconds[solver].append(time.perf_counter() - started)
                told[solver] = {
                    "seconds": round(min(seconds[solver]), 2),
                    "iterations": n_iterations,
                    "converged": converged,
                    "loss": loss(coef, intercept, x, y),
                }
                print(name, solver, told[solver], file=sys.stderr, flush=True)
                gc.collect()
        own = told["ours"]
        enough = float(str(own["loss"])) * (1 + REACHES)
        peers = {k: v for k, v in told.items() if k != "ours"}
        reach = {k: v for k, v in peers.items() if float(str(v["loss"])) <= enough}
        yield {
            "signal": name,
            "solvers": told,
            "reach_our_loss": sorted(reach),
            "ratio_to_fastest_that_reaches": ratio(own, reach),
            "ratio_to_fastest": ratio(own, peers),
        }


def ratio(own: dict[str, object], peers: dict[str, dict[str, object]]) -> float | None:
    fastest = min((float(str(one["seconds"])) for one in peers.values()), default=None)
    return None if fastest is None else round(float(str(own["seconds"])) / max(fastest, 0.01), 3)


def evaluation(args: argparse.Namespace) -> dict[str, object]:
    """The whole command on a store of made-up activations."""
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        store, out = Path(folder) / "store", Path(folder) / "out"
        write_store(store, args.words, args.templates, args.shape)
        n_bytes = sum(path.stat().st_size for path in store.iterdir())
        command = [sys.executable, "-m", "emo_harness", "probe", "evaluate", str(store)]
        command += ["--out", str(out), "--dimension", "valence", "--seeds", str(args.seeds)]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        results = pd.read_parquet(out / "results.parquet")
    pooled = results[results.layer.isna() & (results.split == "E4") & (results.subset == "all")]
    return {
        "prompts": args.words * args.templates,
        "features": int(np.prod(args.shape)),
        "seeds": args.seeds,
        "seconds": round(seconds, 1),
        "peak_rss_gb": round(peak / 1e9, 2),
        "store_gb": round(n_bytes / 1e9, 3),
        "n_results": len(results),
        "E4_pooled": {
            f"{row.method}, {row.features}": round(row.accuracy, 3)
            for row in pooled[pooled.kind == "probe"].itertuples()
        },
    }


def write_store(folder: Path, n_words: int, n_templates: int, shape: tuple[int, ...]) -> None:
    """Made-up value vectors of every word in every template, shard by shard."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    n_layers, d = shape[0], int(np.prod(shape))
    directions = rng.standard_normal((N_DIRECTIONS, d), dtype=np.float32) / 8
    words, templates = (
        rng.standard_normal((n, N_DIRECTIONS), dtype=np.float32) for n in (n_words, n_templates)
    )
    valence = rng.standard_normal((n_layers, d // n_layers), dtype=np.float32) / 8
    valence[: n_layers // 3] = 0
    poles = np.where(np.arange(n_words) % 2 == 0, 1, -1)
    rows: list[dict[str, object]] = []
    shards: list[Shard] = []
    for first in range(0, n_templates, TEMPLATES_PER_SHARD):
        own = range(first, min(first + TEMPLATES_PER_SHARD, n_templates))
        values = np.empty((len(own), n_words, d), np.float32)
        for place, template in enumerate(own):
            sign = -1 if template % 2 else 1
            mixed = np.tanh(words + templates[template]) + 0.5 * words + templates[template]
            values[place] = mixed @ directions + np.outer(sign * poles, valence)
            values[place] += 0.25 * rng.standard_normal((n_words, d), dtype=np.float32)
            rows += [
                index_row(template, word, int(poles[word]), n_words) for word in range(n_words)
            ]
        path = folder / f"shard-{len(shards):05d}.safetensors"
        stored = values.reshape(-1, *shape).astype(np.float16)
        save_file({"value": stored}, path)
        size = path.stat().st_size
        shards.append(
            Shard(file=path.name, n_rows=len(stored), n_bytes=size, sha256=sha256_of(path))
        )
    index = pd.DataFrame(rows)
    index["valence"] = index["valence"].astype("Int8")
    index[["span_tokens", "span_id"]] = index[["span_tokens", "span_id"]].astype("Int64")
    index.to_parquet(folder / INDEX)
    embedded = rng.standard_normal((n_words, d // n_layers), dtype=np.float32)
    save_file({"embedding": embedded}, folder / "spans.safetensors")
    manifest = manifest_of(shape, shards, len(index))
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump()), "utf-8")


def index_row(template: int, word: int, pole: int, n_words: int) -> dict[str, object]:
    text = (
        f"Person{template} {'does not feel' if template % 2 else 'feels'} {{}} at place{template}"
    )
    return {
        "text": text.format(f"word{word}"),
        "word": f"word{word}",
        "lemma": f"lemma{word}",
        "template": template,
        "template_text": text,
        "scenario": template // 2,
        "shape": f"shape{template % 121}",
        "negation": bool(template % 2),
        "list": "made",
        "valence": pole,
        "prompt": template * n_words + word,
        "n_tokens": 7 + word % 3,
        "span_tokens": 1 + word % 3,
        "span_id": word,
        "token": 6 + word % 3,
    }


def manifest_of(shape: tuple[int, ...], shards: list[Shard], n_rows: int) -> Manifest:
    facts = ModelFacts(
        name="made",
        model_type="made",
        dtype="float32",
        n_layers=shape[0],
        hidden_size=int(np.prod(shape[1:])),
        vocabulary=1000,
    )
    classes = {"high": "high", "low": "low", "first": "low"}
    return Manifest(
        model=facts,
        tokenizer="made",
        sites=["value"],
        layers=list(range(shape[0])),
        position="last",
        shapes={"value": list(shape[1:])},
        dtype="float16",
        n_rows=n_rows,
        shards=shards,
        corpus={
            "kind": "probing",
            "sha256": "made",
            "dimensions": {"valence": classes},
            "description": "made-up activations",
        },
        versions={},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=18_856)
    parser.add_argument("--columns", type=int, default=9_216)
    parser.add_argument("--iterations", type=int, default=1000, help="at most, of every solver")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["lbfgs", "newton-cg"])
    parser.add_argument("--signals", nargs="*", choices=list(SIGNALS), default=list(SIGNALS))
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--words", type=int, default=N_WORDS)
    parser.add_argument("--templates", type=int, default=N_TEMPLATES)
    parser.add_argument(
        "--shape", type=int, nargs=3, default=[12, 12, 64], help="layers, heads, dimensions"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where the store of --evaluate is made")
    args = parser.parse_args()
    args.shape = tuple(args.shape)
    found: dict[str, object] = {"cores": len(os.sched_getaffinity(0))}
    found["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    if args.evaluate:
        found["evaluate"] = evaluation(args)
    else:
        found |= {"rows": args.rows, "columns": args.columns, "fits": list(fits(args))}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
