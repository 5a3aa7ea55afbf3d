"""`emo decode`: what a stimulus set means inside a model, as a meta prompt."""

from __future__ import annotations

import json
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from emo_harness.cli.layers import layers_of
from emo_harness.cli.run_model_options import (
    ComputedIn,
    Device,
    Dtype,
    Force,
    ModelPlace,
    OwnRevision,
    RemoteCode,
)
from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.decode.asked import AskedStimuli

EXAMPLE = (
    "Examples: emo decode prompt attack --model emo-demo --out decoded/; "
    "emo decode --run runs/ --questions 20 && emo report runs/ --out report/"
)
DOING = "reading the arguments of emo decode"
TRANSLATORS = "translators.safetensors"


class Pooling(str, Enum):
    """Over the tokens of a stimulus."""

    content = "content"
    mean = "mean"
    positions = "positions"


class Vector(str, Enum):
    """What is decoded of a family."""

    contrast = "contrast"
    mean = "mean"
    each = "each"


class Decoder(str, Enum):
    """From vectors to tokens."""

    logit_lens = "logit-lens"
    nearest = "nearest"
    tuned_lens = "tuned-lens"


class Unprintable(str, Enum):
    """Tokens that are half of a character."""

    skip = "skip"
    show = "show"


def decode(
    sets: list[str] = typer.Argument(
        None, help="Shipped sets (prompt, attack, negative), YAML files or ids; with --run its own."
    ),
    model: str | None = typer.Option(
        None, "--model", help="A folder, or a repository on the hub; with --run the run's own."
    ),
    out: Path = typer.Option(None, "--out", help="Folder for meta.yaml and the tables."),
    run: Path = typer.Option(
        None, "--run", help="Read the stimuli in this run's prompts; results go to its posthoc/."
    ),
    questions: int = typer.Option(
        None, "--questions", min=1, help="Of the run: how many, drawn with --seed; all by default."
    ),
    context: list[str] = typer.Option(
        [], "--context", help="Read behind the instruction of a benchmark or task; repeatable."
    ),
    site: str = typer.Option("resid_post", "--site", help="See emo probe capture --help."),
    layers: str = typer.Option(
        None, "--layers", help="all, or numbers: 0,3,6-11; 12 spread over the depth by default."
    ),
    pooling: Pooling = typer.Option(
        Pooling.content,
        "--pooling",
        help="content (token of the last letter), mean (over tokens), positions (each of them).",
    ),
    vector: Vector = typer.Option(
        Vector.contrast,
        "--vector",
        help="contrast (family minus placebos), mean (of the family), each (stimulus).",
    ),
    placebos: list[str] = typer.Option(
        [], "--placebos", help="Neutral placebos: a set, file or id; repeatable."
    ),
    decoder: Decoder = typer.Option(
        None,
        "--decoder",
        help="logit-lens (default), nearest (embedding) or tuned-lens (default where there are "
        "translators).",
    ),
    translators: Path = typer.Option(
        None, "--translators", help="Of a tuned lens, a file that --fit-translators wrote."
    ),
    fit_translators: Path = typer.Option(
        None, "--fit-translators", help="Fit them on these texts: .txt, one a line, or .jsonl."
    ),
    length: int = typer.Option(
        None, "--length", min=1, help="Tokens of a meta prompt; 8, or one per position."
    ),
    top: int = typer.Option(10, "--top", min=1, help="Best tokens that are kept and compared."),
    n_random: int = typer.Option(
        1, "--random", min=0, help="Random vectors per source and layer, as long as its own."
    ),
    n_permuted: int = typer.Option(
        1, "--permuted", min=0, help="Sources with labels dealt anew among stimuli and placebos."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Of all that is random."),
    unprintable: Unprintable = typer.Option(
        Unprintable.skip,
        "--unprintable",
        help="Half characters: skip (the next best takes the place), or show them as a sign.",
    ),
    dtype: ComputedIn = Dtype.float32,
    device: Device = None,
    revision: OwnRevision = None,
    trust_remote_code: RemoteCode = False,
    force: Force = False,
    as_json: bool = typer.Option(False, "--json", help="Print the results as JSON, no table."),
) -> None:
    """Decode what stimuli mean inside a model: at every layer, words that can be asked as stimuli.

    Writes meta.yaml (a stimulus set: meta prompts, and the controls beside them), decode.parquet
    and decode.json (every token of every decoding).
    """
    _check(sets, model, out, run, questions, context, force)
    by = _decoder(decoder, translators, fit_translators)
    given_layers = layers_of(layers)
    if out:
        from emo_harness.decode.files import require_own_folder

        require_own_folder(out)
    from emo_harness.decode.lens import require_decodable

    require_decodable(site)
    from tqdm import tqdm

    from emo_harness.cli.decode_asked import in_run, of_sets
    from emo_harness.decode.decode import decode_stimuli, spread_layers
    from emo_harness.decode.decoders import decoders_of, fitted_on, translator_remarks
    from emo_harness.decode.files import DecodeFacts, decode_files, decode_result, write_decoding
    from emo_harness.decode.meta_prompt import DecodeSettings
    from emo_harness.decode.pooling import read_stimuli
    from emo_harness.decode.translators import load_translators, save_translators
    from emo_harness.decode.vocabulary import Vocabulary
    from emo_harness.run_model import posthoc_folder

    settings = DecodeSettings(
        pooling=pooling.value,
        vector=vector.value,
        length=length,
        k=top,
        n_random=n_random,
        n_permuted=n_permuted,
        seed=seed,
        unprintable=unprintable.value,
    )
    place = ModelPlace(model, revision, dtype, device, trust_remote_code, force)
    asked, read_in = (
        in_run(run, sets or [], placebos, questions, settings, place)
        if run
        else of_sets(sets or [], placebos, context, settings, place)
    )
    loaded = read_in.loaded
    fitted = load_translators(translators, loaded) if translators else None
    known = fitted.layers if fitted else loaded.layout.layers_of(site)
    chosen = sorted(set(given_layers or (known if layers else spread_layers(known))))
    loaded.layout.check({site: chosen})
    if fit_translators:
        fitted = fitted_on(loaded, fit_translators, site, chosen, seed)
    decoders = decoders_of(loaded, by, site, fitted)
    with tqdm(total=asked.n_prompts, desc="reading stimuli", unit="prompt", disable=None) as bar:
        pooled = read_stimuli(
            loaded,
            asked.prompts,
            site=site,
            layers=chosen,
            pooling=settings.pooling,
            advance=bar.update,
        )
    vocabulary = Vocabulary(loaded.tokenizer)
    n_tokens, sources = loaded.facts.vocabulary, list(asked.sources)
    with tqdm(total=len(chosen), desc="decoding", unit="layer", disable=None) as bar:
        decoded = decode_stimuli(
            pooled, sources, decoders, vocabulary, n_tokens, settings, bar.update
        )
    facts = DecodeFacts(
        read_in.name,
        loaded.facts,
        site,
        tuple(chosen),
        decoders.name,
        settings,
        read_in.forced,
    )
    result = decode_result(facts, asked, decoded.prompts, vocabulary)
    files = decode_files(facts, asked, decoded.prompts, result)
    if fitted is not None and fit_translators:
        files = {TRANSLATORS: partial(save_translators, translators=fitted), **files}
    folders = [one for one in (posthoc_folder(run) if run else None, out) if one]
    written = [path for folder in folders for path in write_decoding(folder, files)]
    remarks = [
        *asked.remarks,
        *translator_remarks(fitted, chosen),
        *decoded.remarks,
        *_left_out(asked),
    ]
    if as_json:
        typer.echo(json.dumps({**result, "files": list(map(str, written)), "remarks": remarks}))
        return
    from emo_harness.cli.decode_table import print_decoding

    print_decoding(decoded.prompts, result, remarks)
    typer.echo("\n".join(f"wrote {path}" for path in written))


def _left_out(asked: AskedStimuli) -> list[str]:
    if asked.run is None:
        return []
    return [
        f"left out: {n} question{'' if n == 1 else 's'}{why.removeprefix('questions')}"
        for why, n in asked.run.left_out.items()
    ]


def _decoder(
    named: Decoder | None, translators: Path | None, texts: Path | None
) -> Literal["logit-lens", "nearest", "tuned-lens"]:
    given = [
        n for n, path in (("--translators", translators), ("--fit-translators", texts)) if path
    ]
    if len(given) > 1:
        raise _misread(" and ".join(given), "one of them", "use a file, or fit one")
    if named is None:
        return "tuned-lens" if given else "logit-lens"
    if (named is Decoder.tuned_lens) != bool(given):
        raise _misread(
            f"--decoder {named.value} {'with' if given else 'without'} "
            f"{given[0] if given else 'translators'}",
            "translators for tuned-lens, and for it alone",
            "--translators FILE, or --fit-translators TEXTS",
        )
    return named.value


def _check(
    sets: list[str] | None,
    model: str | None,
    out: Path | None,
    run: Path | None,
    questions: int | None,
    context: list[str],
    force: bool,
) -> None:
    """Refuse options that contradict or miss each other."""
    usage = "emo decode prompt attack --model MODEL --out DIR"
    if run is None:
        for name, given in (("--model", model), ("--out", out)):
            if given is None:
                raise _misread(f"no {name}", f"a value for {name}", usage)
        if not sets:
            raise _misread("no stimulus set", "sets, files or ids", usage)
    alone = {"--questions": questions is not None, "--force": force}
    stray = [name for name, given in alone.items() if given and run is None]
    if run is not None and context:
        stray.append("--context")
    if stray:
        raise _misread(
            f"{stray[0]} {'with' if run else 'without'} --run",
            "a run's own prompts, or a benchmark's instruction, or the stimuli alone",
            f"leave {stray[0]} out",
        )


def _misread(found: str, expected: str, fix: str) -> UserError:
    return UserError(DOING, found=found, expected=expected, fix=fix)
