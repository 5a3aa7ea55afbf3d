"""What stands behind the model that a task is asked of, so that it can be found again later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from emo_harness.model_identity import loaded_identities
from emo_harness.resources import embedded_model

_KEPT = (
    *("pretrained", "tokenizer", "tokenizer_path", "peft", "lora_local_path"),
    *("revision", "tokenizer_revision", "cache_dir"),
)


def model_record(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Identities of weights, adapter and tokenizer; see `model_identity.loaded_identities`.

    Args:
        metadata: lm-eval's, in which the model's arguments stand beside other things.
    """
    named = {name: metadata[name] for name in _KEPT if isinstance(metadata.get(name), str)}
    if "base_url" in metadata or not named:
        return {}
    # All tasks of a run ask one model, whose files are read once.
    return dict(_identities(json.dumps(named, sort_keys=True)))


@lru_cache(maxsize=4)
def _identities(named: str) -> Mapping[str, str]:
    args = json.loads(named)
    for name in ("pretrained", "tokenizer"):
        if name in args:
            args[name] = embedded_model(args[name])
    return loaded_identities(args)
