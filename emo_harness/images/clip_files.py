"""Where an image encoder's files are: its architecture, weights as safetensors, its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_harness.errors import UserError, nearest
from emo_harness.extras import import_extra
from emo_harness.model_identity import loaded_identities
from emo_harness.resources import PACKAGE
from emo_harness.text_file import read_text

LOCAL, HUB = "local-dir:", "hf-hub:"
DEMO = "emo-demo-clip"
# The text-to-image pipeline that draws what it knows.
DEMO_GENERATOR = "emo-demo-diffusion"
# A well-known one of moderate size.
USUAL = "ViT-B-32:laion2b_s34b_b79k"
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
# Of open_clip's own tokenizer.
_DEFAULT_VOCABULARY = 49_408
_PURPOSE = "checking images with an image encoder"
# What open_clip hands on from a configuration to its own tokenizer, and no more than that.
_TOKENIZER_OPTIONS = {"clean", "strip_sep_token", "language", "reduction_mask"}


@dataclass(frozen=True)
class ClipFiles:
    """What open_clip is told.

    Attributes:
        label: what it is called in files and reports; a local folder's own name.
        model_name, tokenizer_name: names as open_clip reads them.
        weights: a safetensors file, None where the name says it.
        preprocess: size, mean, ... where the name does not say it.
        quick_gelu: whether the weights were trained with that activation.
        identity: what the weights are.
        told: what to check when they do not fit.
    """

    label: str
    model_name: str
    tokenizer_name: str
    identity: str | None
    told: str
    weights: str | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False


def find_clip(name: str) -> ClipFiles:
    """Find, and where the name is not that of a local folder fetch, an encoder's files.

    Raises:
        UserError: see `clip_encoder.load_clip_encoder`.
    """
    doing = f"loading the image encoder {name}"
    if name == DEMO and not Path(name).exists():
        return _local(PACKAGE / "demo" / "weights" / DEMO, doing)
    if name.startswith(LOCAL):
        return _local(Path(name.removeprefix(LOCAL)).expanduser(), doing)
    if name.startswith(HUB):
        return _hub(name.removeprefix(HUB), doing)
    if Path(name).is_dir():
        raise UserError(
            doing,
            found=f"a folder {name}",
            expected="a name",
            fix=f"for a local folder say {LOCAL}{name}",
        )
    return _named(name, doing)


def _local(folder: Path, doing: str) -> ClipFiles:
    if not (folder / CONFIG).is_file():
        raise UserError(
            doing,
            found=f"no {CONFIG} in {folder}" if folder.is_dir() else f"no folder {folder}",
            expected=f"a folder with {CONFIG}, {WEIGHTS} and a tokenizer",
            fix=f"check the path after {LOCAL}",
        )
    _require_config(folder / CONFIG, doing, is_local=True)
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
        raise UserError(
            doing,
            found=f"weights as a pickle ({pickles[0]}), which could run any program"
            if pickles
            else f"no {WEIGHTS} in {folder}",
            expected=WEIGHTS,
            fix="save the weights with safetensors.torch.save_file"
            if pickles
            else f"put {CONFIG}, {WEIGHTS} and the tokenizer's files into the folder",
        )
    place = f"{LOCAL}{folder}"
    identity = loaded_identities({"pretrained": str(folder / WEIGHTS)}).get("pretrained")
    label = folder.resolve().name
    return ClipFiles(label, place, place, identity, f"the files in {folder}")


def _hub(repository: str, doing: str) -> ClipFiles:
    from huggingface_hub import snapshot_download

    names = [CONFIG, WEIGHTS]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=names))
    except (OSError, ValueError) as error:
        raise _not_fetched(doing, error) from error
    if not (folder / WEIGHTS).is_file():
        raise _no_safetensors(doing, repository)
    _require_config(folder / CONFIG, doing, is_local=False)
    identity = loaded_identities({"pretrained": repository}).get("pretrained")
    name = f"{HUB}{repository}"
    return ClipFiles(name, f"{LOCAL}{folder}", name, identity, repository)


def _named(name: str, doing: str) -> ClipFiles:
    open_clip = import_extra("open_clip", _PURPOSE)
    architecture, _, tag = name.partition(":")
    known = open_clip.list_models()
    tags = open_clip.list_pretrained_tags_by_model(architecture) if architecture in known else []
    if not tags or tag not in tags:
        of = f"of {architecture}" if tags else ""
        raise UserError(
            doing,
            found=(f"weights {tag!r} {of}" if tag else f"no weights {of}") + nearest(tag, tags)
            if tags
            else f"{architecture!r}{nearest(architecture, known)}",
            expected=f"ARCHITECTURE:WEIGHTS as open_clip lists them, {HUB}ORG/MODEL, "
            f"{LOCAL}FOLDER or {DEMO}",
            fix=f"e.g. {architecture}:{tags[-1]}" if tags else f"e.g. {USUAL}",
        )
    told = open_clip.get_pretrained_cfg(architecture, tag)
    quick = bool(told.get("quick_gelu", False))
    if not quick and bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu")):
        raise UserError(
            doing,
            found=f"weights {tag!r}, trained with another activation than {architecture} has",
            expected="the architecture they were trained for",
            fix=f"say {architecture.removesuffix('-quickgelu')}:{tag}",
        )
    repository, file = _hub_place(str(told.get("hf_hub") or ""), doing)
    weights = _fetched(repository, file, doing)
    preprocess = {key: told[key] for key in _preprocess_keys(open_clip) if told.get(key)}
    identity = loaded_identities({"pretrained": repository}).get("pretrained")
    return ClipFiles(name, architecture, architecture, identity, name, weights, preprocess, quick)


def _hub_place(place: str, doing: str) -> tuple[str, str]:
    """open_clip's "org/model/file", where the file may be left out."""
    repository, _, file = place.rpartition("/")
    if not repository:
        raise UserError(
            doing,
            found="weights that are published as a pickle alone",
            expected="weights as safetensors",
            fix=f"choose others, or convert them yourself and say {LOCAL}FOLDER",
        )
    return repository, f"{Path(file).stem}.safetensors" if file else WEIGHTS


def _fetched(repository: str, file: str, doing: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return str(hf_hub_download(repository, file))
    except LocalEntryNotFoundError as error:
        raise _not_fetched(doing, error) from error
    except EntryNotFoundError as error:
        if file != WEIGHTS:
            return _fetched(repository, WEIGHTS, doing)
        raise _no_safetensors(doing, repository) from error
    except (OSError, ValueError) as error:
        raise _not_fetched(doing, error) from error


def _require_config(path: Path, doing: str, *, is_local: bool) -> None:
    """The configuration is whole, and makes nobody's code run and, locally, nothing be fetched."""
    try:
        told = json.loads(read_text(path, doing))
    except (ValueError, RecursionError) as error:
        raise _broken_config(path, doing, str(error)[:120]) from error
    config = told.get("model_cfg") if isinstance(told, dict) else None
    config = config if isinstance(config, dict) else {}
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise _broken_config(path, doing, "no model_cfg with embed_dim, vision_cfg and text_cfg")
    options = set(text.get("tokenizer_kwargs") or {}) - _TOKENIZER_OPTIONS
    if options:
        raise _broken_config(path, doing, f"tokenizer_kwargs {', '.join(sorted(options))}")
    n_tokens = text.get("vocab_size", _DEFAULT_VOCABULARY)
    if not text.get("hf_tokenizer_name") and n_tokens != _DEFAULT_VOCABULARY:
        # open_clip would take its own tokenizer, whatever lies beside the weights.
        raise _broken_config(path, doing, f"no hf_tokenizer_name for a vocabulary of {n_tokens}")
    towers = [str(vision.get("timm_model_name") or ""), str(text.get("hf_model_name") or "")]
    if is_local and (towers[0].startswith(("hf-hub:", "hf_hub:")) or towers[1]):
        raise _broken_config(path, doing, f"a tower {towers[1] or towers[0]!r} of the hub")


def _preprocess_keys(open_clip: Any) -> tuple[str, ...]:
    # Size comes with the architecture.
    fields = tuple(open_clip.transform.PreprocessCfg.__dataclass_fields__)
    return tuple(key for key in fields if key not in ("size", "mode"))


def _broken_config(path: Path, doing: str, found: str) -> UserError:
    return UserError(
        doing,
        found=f"{path.name}: {found}",
        expected="a configuration as open_clip writes it, of a model that it builds itself",
        fix="take the file that was saved with the weights",
    )


def _no_safetensors(doing: str, repository: str) -> UserError:
    return UserError(
        doing,
        found=f"no {WEIGHTS} in {repository}",
        expected="weights as safetensors; a pickle could run any program",
        fix=f"choose another model, or convert its weights yourself and say {LOCAL}FOLDER",
    )


def _not_fetched(doing: str, error: Exception) -> UserError:
    return UserError(
        doing,
        found=" ".join(str(error).split())[:160] or type(error).__name__,
        expected="a model on the hub, or in its local cache",
        fix=f"check name and network; without one, say {LOCAL}FOLDER or {DEMO}",
    )
