"""Geometry as images: what `geometry.json` holds, as blocks of a page and files of a folder."""

from emo_harness.report.geometry.numbers import GeometryNumbers
from emo_harness.report.geometry.page import geometry_writers, section_blocks, sentences

__all__ = ["GeometryNumbers", "geometry_writers", "section_blocks", "sentences"]
