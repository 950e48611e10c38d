"""What the commands were asked to do that apply a final model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from search.command import _arguments as kinds
from search.command import _shared as usual
from search.command._flags import Flag, Group, choice
from search.command._shared import Device, LogLevel, Storage


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Apply the final model of a comparison to other patches, with or without labels."""

    model: Annotated[usual.Final, Group("prediction")]
    out: Annotated[Path, Flag("FILE", kinds.new_file, "table to write: Parquet where it ends in .parquet, else CSV")]
    data: usual.Paths = ()
    abstain: Annotated[float | None, Flag(
        "RATE", kinds.error_rate, "leave patches open, so that at most this share of a new patient's is called wrongly",
        "default: every patch is called",
    )] = None  # fmt: skip
    neighbours: usual.Neighbours = False
    storage: Storage = field(default="", repr=False)
    device: Device = "auto"
    log_level: LogLevel = "info"


@dataclass(frozen=True, kw_only=True)
class HeatmapSettings:
    """Show what the final model of a comparison says of whole slides: one page, and a picture of each slide."""

    model: Annotated[usual.Final, Group("heat map")]
    out: Annotated[Path, Flag("DIR", kinds.folder, "folder for heatmap.html and a PNG file a slide")]
    data: usual.Paths = ()
    patient: usual.Patients = ()
    out_of_fold: usual.OutOfFold = False
    storage: Storage = field(default="", repr=False)
    device: Device = "auto"
    log_level: LogLevel = "info"


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Write the final model of a comparison as one file that runs without it, with a model card beside it."""

    model: Annotated[usual.Final, Group("export")]
    out: Annotated[Path, Flag("FILE", kinds.new_file, "file to write; the model card goes beside it, ending in .md")]
    format: Annotated[str, choice(
        "form of the file; onnx takes pip install 'histotune[export]'", "onnx", "torchscript", "safetensors"
    )] = "onnx"  # fmt: skip
