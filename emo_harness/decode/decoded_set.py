"""Decoded sets: meta prompts and their controls as a stimulus set's file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import yaml

from emo_harness.decode.meta_prompt import MetaPrompt
from emo_harness.errors import UserError
from emo_harness.stimuli import DECODED, Decoding
from emo_harness.stimuli.files import MAX_FILE_BYTES

# Ids have at most 64 characters, of which layer and draw take some.
LONGEST_NAME = 40
_PREFIX = {
    "meta": "decoded",
    "random": "random",
    "neutral": "neutral",
    "permuted": "permuted",
    "shuffled": "shuffled",
}


def stimulus_ids(prompts: Sequence[MetaPrompt]) -> list[str | None]:
    """An id for every decoding that has a text, each once: "decoded-prompt-l07"."""
    taken: set[str] = set()
    ids: list[str | None] = []
    for prompt in prompts:
        if not prompt.text.text:
            ids.append(None)
            continue
        stem = stimulus = _stem(prompt)
        number = 1
        while stimulus in taken:
            number += 1
            stimulus = f"{stem}-{number}"
        taken.add(stimulus)
        ids.append(stimulus)
    return ids


def set_text(
    prompts: Sequence[MetaPrompt],
    ids: Sequence[str | None],
    *,
    made_in: dict[str, Any],
    title: str,
    description: str,
) -> str:
    """The YAML file of a decoded set.

    Args:
        prompts: decoded; those without an id are left out.
        ids: see `stimulus_ids`.
        made_in: the fields of `Decoding` that all have in common: site, pooling, decoder, model,
            model_id, n_layers.
        title, description: for people.

    Raises:
        UserError: there is no text, or more than a set's file may hold.
    """
    stimuli = [
        _entry(prompt, stimulus, made_in)
        for prompt, stimulus in zip(prompts, ids, strict=True)
        if stimulus is not None
    ]
    if not stimuli:
        raise UserError(
            "writing meta prompts",
            found="no token that can stand in a text, at any layer",
            expected="at least one",
            fix="show half characters with --unprintable show, or decode other layers",
        )
    sources = "-".join(dict.fromkeys(p.source for p in prompts if p.kind == "meta"))
    content = {
        "name": _name(f"meta-{sources}"),
        "version": 1,
        "family": DECODED,
        "title": title,
        "description": description,
        "sources": {DECODED: f"decoded from {made_in['model']} by emo decode"},
        "stimuli": stimuli,
    }
    header = (
        f"# {title}.\n"
        "# Ask with these:\n"
        "#   lm_eval --tasks emo_bbh_decoded --metadata "
        '\'{"emo": {"stimuli": "THIS FILE"}}\' ...\n'
        "# `lost`: ordinals of the tokens that the tokenizer does not give back from the text.\n"
    )
    text = header + yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20
    )
    if len(text.encode()) > MAX_FILE_BYTES:
        raise UserError(
            "writing meta prompts",
            found=f"{len(stimuli):,} texts in {len(text.encode()):,} bytes",
            expected=f"at most {MAX_FILE_BYTES:,}, what a stimulus set may hold",
            fix="decode fewer --layers, families or random vectors, or several sets",
        )
    return text


class _Dumper(yaml.SafeDumper):
    """Short lists on one line, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _short_list(dumper: yaml.SafeDumper, items: Any) -> yaml.Node:
    is_flat = all(isinstance(item, str | int) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=is_flat)


_Dumper.add_representer(list, _short_list)


def _entry(prompt: MetaPrompt, stimulus: str, made_in: dict[str, Any]) -> dict[str, Any]:
    overlap = prompt.overlap
    decoding = Decoding(
        source=prompt.source,
        kind=prompt.kind,
        control_of=prompt.control_of,
        vector=prompt.vector,
        layer=prompt.layer,
        draw=prompt.draw,
        tokens=tuple(token.text for token in prompt.text.tokens),
        lost=prompt.text.lost,
        overlap=None if overlap is None else round(overlap, 4),
        **made_in,
    )
    told = {name: value for name, value in decoding.model_dump().items() if value is not None}
    told |= {name: list(told[name]) for name in ("tokens", "lost")}
    entry: dict[str, Any] = {"id": stimulus, "text": prompt.text.text}
    if prompt.kind != "meta":
        entry["placebo"] = DECODED
    return {**entry, "source": DECODED, "decoded": told}


def _stem(prompt: MetaPrompt) -> str:
    of_one = prompt.kind in ("meta", "shuffled") and prompt.vector not in ("contrast", "mean")
    what = f"-{prompt.vector if of_one else prompt.source}" if prompt.kind != "neutral" else ""
    draw = f"-{prompt.draw + 1}" if prompt.draw else ""
    return f"{_name(_PREFIX[prompt.kind] + what)}-l{prompt.layer:02d}{draw}"


def _name(text: str) -> str:
    """As an id: small letters, digits, points and hyphens; of a long one its start and a hash."""
    plain = re.sub(r"[^a-z0-9._-]+", ".", text.lower())
    if len(plain) <= LONGEST_NAME:
        return plain
    return f"{plain[: LONGEST_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
