"""The formats of instruction data: recognised from rows, converted to messages, and written back."""

from pipelines.data.formats.back import REVERSIBLE, restore
from pipelines.data.formats.detect import FORMATS, Detected, detect, row_format
from pipelines.data.formats.forward import convert
from pipelines.data.formats.trees import from_trees

__all__ = ["FORMATS", "REVERSIBLE", "Detected", "convert", "detect", "from_trees", "restore", "row_format"]
