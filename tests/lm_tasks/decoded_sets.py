"""Hand-written decoded sets: what `emo decode` writes, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

WORDS = ("heart", "stone", "river", "light", "lamp", "winter", "garden", "voice", "paper", "bread")


def decoding(source: str, layer: int, kind: str = "meta", **changed: Any) -> dict[str, Any]:
    """The `decoded` of an entry."""
    return {
        "source": "placebo" if kind == "neutral" else source,
        "kind": kind,
        **({} if kind in ("meta", "neutral") else {"control_of": source}),
        "vector": "contrast" if kind == "meta" else "mean",
        "site": "resid_post",
        "layer": layer,
        "n_layers": 40,
        "pooling": "content",
        "decoder": "logit-lens",
        "model": "some-decoder",
        "tokens": list(_words(source, layer, kind)),
        "overlap": 0.25,
        **changed,
    }


def entry(source: str, layer: int, kind: str = "meta", **changed: Any) -> dict[str, Any]:
    """One entry of a decoded set: a meta prompt, or a control beside it."""
    name = {"meta": f"decoded-{source}", "neutral": "neutral"}.get(kind, f"{kind}-{source}")
    return {
        "id": f"{name}-l{layer:02}",
        "text": " ".join(_words(source, layer, kind)),
        "source": "decoded",
        **({} if kind == "meta" else {"placebo": "decoded"}),
        "decoded": decoding(source, layer, kind),
        **changed,
    }


def meta_entries(
    layers: tuple[int, ...], sources: tuple[str, ...] = ("prompt", "attack")
) -> list[dict[str, Any]]:
    """Of each layer the meta prompt of every source, and all controls."""
    made = [entry(source, layer) for source in sources for layer in layers]
    for layer in layers:
        made.append(entry("placebo", layer, "neutral"))
        for source in sources:
            made += [entry(source, layer, kind) for kind in ("random", "permuted", "shuffled")]
    return made


def write_set(path: Path, entries: list[dict[str, Any]], family: str = "decoded") -> Path:
    """The file `path`, a set of these entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"name": "meta", "family": family, "stimuli": entries}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
    return path


def _words(source: str, layer: int, kind: str) -> tuple[str, ...]:
    """Five words, others for each arm."""
    numbers = (len(source), 3 * len(kind), layer, layer * len(source), len(source + kind) + layer)
    return (*(WORDS[n % 10] for n in numbers), f"{source[0]}{kind[0]}{layer}")
