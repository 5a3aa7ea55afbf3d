"""Decoded stimuli in a report: gains by layer, the trend over them, and the words themselves."""

from emo_harness.report.decoded.depth import DecodedDepth, LayerRow, decoded_depths
from emo_harness.report.decoded.series import DecodedSeries, series_of

__all__ = ["DecodedDepth", "DecodedSeries", "LayerRow", "decoded_depths", "series_of"]
