"""The keywords of ``search.api`` for type checkers. Written by ``docs/keywords.py``; do not edit."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Required, TypedDict

Text = str | PathLike[str]
Texts = Text | Sequence[Text]


class ExploreKeywords(TypedDict, total=False):
    """Of ``search.api.explore``; see ``search.command.settings.ExploreSettings``."""

    all: bool | None
    sample: int | None
    seed: int | None
    positive: Text | None
    vgg16_weights: Text | None
    device: Text | None
    data: Text | None
    study: Text | None
    storage: Text | None
    runs: Text | None
    log_level: Text | None
    config: Text | None


class LaunchKeywords(TypedDict, total=False):
    """Of ``search.api.launch``; see ``search.command.settings.LaunchSettings``."""

    model: Texts | None
    trials: int | None
    epochs: int | None
    set: Texts | Mapping[str, object] | None
    space: Text | None
    objective: Text | None
    sampler: Text | None
    pruner: Text | None
    precision: Text | None
    preprocess: Text | None
    seed: int | None
    timeout: float | None
    trial_timeout: float | None
    max_parameters: int | None
    max_ms_per_patch: float | None
    stop_when_flat: bool | None
    metrics_port: int | None
    split: Text | Sequence[int] | None
    split_seed: int | None
    split_file: Text | None
    unlisted: Text | None
    positive: Text | None
    exclude: Texts | None
    enqueue: Text | None
    warm_start: Text | None
    vgg16_weights: Text | None
    data: Text | None
    study: Text | None
    storage: Text | None
    runs: Text | None
    log_level: Text | None
    config: Text | None
    workers: int | None
    cpus_per_worker: float | None
    gpus_per_worker: float | Text | None
    device: Text | None
    feature_cache_gb: float | None
    ray_address: Text | None
    ray_temp_dir: Text | None
    storage_timeout: float | None


class FinalizeKeywords(TypedDict, total=False):
    """Of ``search.api.finalize``; see ``search.command.settings.FinalizeSettings``."""

    finalists: int | None
    max_ms_per_patch: float | None
    control: bool | None
    reopen: Text | None
    draws: int | None
    margin: float | None
    vgg16_weights: Text | None
    data: Text | None
    study: Text | None
    storage: Text | None
    runs: Text | None
    log_level: Text | None
    config: Text | None
    workers: int | None
    cpus_per_worker: float | None
    gpus_per_worker: float | Text | None
    device: Text | None
    feature_cache_gb: float | None
    ray_address: Text | None
    ray_temp_dir: Text | None
    storage_timeout: float | None


class ReportKeywords(TypedDict, total=False):
    """Of ``search.api.report``; see ``search.command.settings.ReportSettings``."""

    data: Text | None
    study: Text | None
    storage: Text | None
    runs: Text | None
    log_level: Text | None
    config: Text | None


class StatusKeywords(TypedDict, total=False):
    """Of ``search.api.status``; see ``search.command.settings.StatusSettings``."""

    data: Text | None
    study: Text | None
    storage: Text | None
    runs: Text | None
    log_level: Text | None
    config: Text | None


class PredictKeywords(TypedDict, total=False):
    """Of ``search.api.predict``; see ``search.command.applying.PredictSettings``."""

    model: Required[Text]
    out: Text | None
    data: Texts | None
    abstain: float | None
    neighbours: bool | None
    storage: Text | None
    device: Text | None
    log_level: Text | None


class HeatmapKeywords(TypedDict, total=False):
    """Of ``search.api.heatmap``; see ``search.command.applying.HeatmapSettings``."""

    model: Required[Text]
    out: Required[Text]
    data: Texts | None
    patient: Texts | None
    out_of_fold: bool | None
    storage: Text | None
    device: Text | None
    log_level: Text | None


class ExportKeywords(TypedDict, total=False):
    """Of ``search.api.export``; see ``search.command.applying.ExportSettings``."""

    model: Required[Text]
    out: Required[Text]
    format: Text | None
