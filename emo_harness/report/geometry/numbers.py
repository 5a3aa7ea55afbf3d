"""What `geometry.json` holds, as `emo probe plot` writes it; None is unknown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from emo_harness.validation import Strict

Number = float | None
Numbers = list[Number]


class StoreFacts(Strict):
    """Whose geometry it is."""

    folder: str
    model: str
    identity: str | None
    site: str
    layers: list[int]
    position: str
    corpus: str
    corpus_sha256: str
    n_prompts: int
    n_words: int
    n_templates: int


class WordFacts(Strict):
    """A word, its poles, and what people say of it (valence, arousal)."""

    word: str
    lemma: str
    list: str
    valence: Number
    arousal: Number
    norms: Numbers | None


class Estimated(Strict):
    """An estimate with its 95% interval and p; `n` words."""

    value: Number
    low: Number
    high: Number
    p: Number
    n: int


class Angles(Strict):
    """See `probe.circumplex.AngleTest`."""

    agreement: Estimated
    error_deg: Estimated
    correlation: Estimated
    rotation_deg: Number
    concentration: Number


class Laid(Strict):
    """See `probe.circumplex.Procrustes`."""

    fit: Estimated
    rotation_deg: Number
    reflected: bool


class PlaneFit(Strict):
    """How a plane fits the words' poles, or norms."""

    against: Literal["poles", "norms"]
    quadrants: Estimated | None = None
    angles: Angles | None = None
    ranks: dict[str, Estimated]
    procrustes: Laid | None = None


class PlaneLayer(Strict):
    """Of one layer: shares of words on their poles' side of each axis, and in their quadrant."""

    layer: int
    side_0: Number
    side_1: Number = None
    quadrants: Number


class PlaneNumbers(Strict):
    """Words along axes; `points` in the order of the words."""

    how: str
    in_sample: bool
    names: list[str]
    points: list[Numbers]
    fits: list[PlaneFit]
    by_layer: list[PlaneLayer]


class AxisAngle(Strict):
    """Cosine of the two dimensions' differences of class means."""

    words: str
    cosine: Number
    low: Number
    high: Number
    by_layer: Numbers
    n: int


class SpacePoints(Strict):
    """What a view draws; lists of one length."""

    word: list[str]
    template: list[int | None]
    negation: list[bool]
    target: dict[str, list[int | None]]
    place: list[Numbers]


class SpaceView(Strict):
    """Principal components of one selection of prompts."""

    view: str
    title: str
    n: int
    explained: Numbers
    factors: dict[str, Numbers]
    points: SpacePoints


class CosineMatrix(Strict):
    """Cosines of axes; `columns` are layers where rows are pairs of axes."""

    title: str
    kind: Literal["whole", "layers", "across"]
    labels: list[str]
    columns: list[int] = Field(default_factory=list)
    cosines: list[Numbers]
    chance: float


class CurvePoint(Strict):
    """An accuracy with its 95% interval; of all layers where it has no layer."""

    layer: int | None = None
    accuracy: Number
    low: Number
    high: Number


class ControlCurve(Strict):
    """A control by layer."""

    name: str
    informative: bool
    points: list[CurvePoint]
    pooled: list[CurvePoint]


class HeadMap(Strict):
    """Accuracies by layer and head."""

    method: str
    split: str
    layers: list[int]
    heads: list[int]
    accuracy: list[Numbers]
    low: list[Numbers]


class Curves(Strict):
    """An evaluation of one dimension at one site with one form of features."""

    dimension: str
    site: str
    features: str
    method: str
    strictest: str
    curves: dict[str, list[CurvePoint]]
    pooled: dict[str, CurvePoint]
    controls: list[ControlCurve]
    heads: HeadMap | None
    n_words: int | None
    n_templates: int | None


class EvaluationVerdict(Strict):
    """What an evaluation concluded of one probe, in words."""

    dimension: str
    features: str
    method: str
    split: str
    subset: str
    text: str


class Space(Strict):
    """One space of words, and how well its dissimilarities are known."""

    name: str
    reliability: Number
    n: int


class SpacePair(Estimated):
    """How alike two spaces arrange words."""

    one: str
    other: str
    n_pairs: int


class LayerGrid(Strict):
    """Likeness of every layer (rows) with every layer of another model (columns)."""

    other: str
    rows: list[int]
    columns: list[int]
    likeness: list[Numbers]


class SharedCoordinates(Estimated):
    """Rank correlation of the words' held-out coordinates with another model's."""

    other: str
    dimension: str


class WordLikeness(Strict):
    """Spaces beside each other."""

    spaces: list[Space]
    pairs: list[SpacePair]
    layers: list[LayerGrid]
    coordinates: list[SharedCoordinates]


class TrajectoryStep(Strict):
    """Scores of a class of prompts at one step; `step` 0 is the prompt's last token."""

    target: str
    step: int
    mean: Number
    low: Number
    high: Number
    n: int
    n_words: int
    n_templates: int


class TrajectoryNumbers(Strict):
    """The axis score over generated tokens; `texts` are examples (prompt, what was written)."""

    axis: str
    site: str
    layers: list[int]
    model: str
    sampled: bool
    n_prompts: int
    steps: list[TrajectoryStep]
    texts: list[list[str]]


class GeometryNumbers(Strict):
    """All of it."""

    schema_version: Literal[1]
    store: StoreFacts
    words: list[WordFacts]
    planes: list[PlaneNumbers]
    angles: list[AxisAngle]
    views: list[SpaceView]
    cosines: list[CosineMatrix]
    likeness: WordLikeness
    evaluations: list[Curves]
    verdicts: list[EvaluationVerdict]
    trajectory: list[TrajectoryNumbers] | None
