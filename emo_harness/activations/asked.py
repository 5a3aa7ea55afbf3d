"""What a capture asks of a model: sites, layers, and how they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emo_harness.activations.prompt_rows import PromptRows
from emo_harness.activations.row_buffer import DTYPES
from emo_harness.activations.row_reader import RowReader
from emo_harness.errors import UserError, nearest, quoted

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel


@dataclass(frozen=True)
class Asked:
    """Sites and layers that a model has, and the shapes of their vectors."""

    sites: tuple[str, ...]
    layers: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(
        cls, loaded: LoadedModel, sites: Sequence[str], layers: Sequence[int] | None, dtype: str
    ) -> Asked:
        """What is asked for, where the model has it.

        Args:
            layers: of the model; all that have these sites by default.
            dtype: to store in.

        Raises:
            UserError: it has not, or nothing was named.
        """
        layout = loaded.layout
        sites = tuple(dict.fromkeys(sites))
        if not sites or (layers is not None and not layers):
            raise UserError(
                "choosing what to capture",
                found="no site" if not sites else "no layer",
                expected="at least one",
                fix="name one, e.g. --sites value --layers all",
            )
        if dtype not in DTYPES:
            raise UserError(
                "choosing how to store activations",
                found=f"dtype {dtype!r}{nearest(dtype, DTYPES)}",
                expected=quoted(DTYPES),
                fix="name one of these with --dtype",
            )
        if layers is None:
            common = set.intersection(*(set(layout.layers_of(site)) for site in sites))
            layers = sorted(common)
            if not layers:
                raise UserError(
                    f"choosing layers of {type(layout.model).__name__}",
                    found=f"no layer that has all of {quoted(sites)}",
                    expected="sites of the same layers",
                    fix="capture these sites one by one",
                )
        wanted = tuple(sorted(set(layers)))
        return cls(sites, wanted, {site: layout.shape(site, wanted) for site in sites})

    def reader(
        self, loaded: LoadedModel, rows: PromptRows, batch_tokens: int | None, packed: bool
    ) -> RowReader:
        """What reads these rows from the model."""
        return RowReader(
            loaded,
            self.sites,
            self.layers,
            longest=int(rows.encoded.n_tokens.max()),
            batch_tokens=batch_tokens,
            packed=packed,
        )
