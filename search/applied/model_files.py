"""The forms of file that a whole model can be written in, and what runs each of them without HistoTune's training code.

Each form is two functions: one that writes a network (or its members) with what is to be known about it, one that opens
the file as a stranger would, so that what is checked is the file.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import onnx
import torch
from torch import Tensor

from data_utils.readers.patchset import Pixels
from search.applied.served import INPUT, OUTPUTS, Networks, Outputs, Predictor, read_tensors, serve, write_tensors
from search.errors import UsageError
from search.final.stored_ensemble import Final

OPSET = 17  # of ONNX, 2022; every runtime of today has it, and nothing here needs a later one
ABOUT_FILE = "about.json"
"""Of a TorchScript file: what is to be known about the model."""


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        write: (file, model, its networks, side of a patch, what is to be known about it).
        open: file -> what predicts by it.
        runs_by: who can use the file, in words.
        needs: a package that is not installed with HistoTune; "" for none.
    """

    write: Callable[[Path, Final, Networks, int, Mapping[str, str]], None]
    open: Callable[[Path], Predictor]
    runs_by: str
    needs: str = ""


def form_of(name: str) -> Form:
    """The form of this name, if what checks it is here.

    Raises:
        UsageError: a package is missing.
    """
    form = FORMS[name]
    if form.needs and find_spec(form.needs) is None:
        raise UsageError(
            f"--format {name}: {form.needs} is not installed, and the file is checked by it before it is yours; "
            "install it with pip install 'histotune[export]', or use another --format"
        )
    return form


# --- ONNX -----------------------------------------------------------------------------------------------------------


def _write_onnx(path: Path, stored: Final, networks: Networks, side: int, about: Mapping[str, str]) -> None:
    axes = {name: {0: "patches"} for name in (INPUT, *OUTPUTS)}
    with _tracing():
        # The other exporter needs onnxscript, which nothing else here does.
        torch.onnx.export(
            serve(stored, networks, side),
            (_example(side),),
            str(path),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(about))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _open_onnx(path: Path) -> Predictor:
    import onnxruntime  # an extra: nothing but this check needs it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda pixels: tuple(session.run(list(OUTPUTS), {INPUT: pixels}))


# --- TorchScript ----------------------------------------------------------------------------------------------------


def _write_torchscript(path: Path, stored: Final, networks: Networks, side: int, about: Mapping[str, str]) -> None:
    with _tracing():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            serve(stored, networks, side), _example(side), check_trace=False
        )
        torch.jit.save(traced, path, _extra_files={ABOUT_FILE: json.dumps(dict(about))})


def _open_torchscript(path: Path) -> Predictor:
    """Of a file that was just written here: such files hold programs, and those of others are never opened."""
    with _tracing():
        network = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def predict(pixels: Pixels) -> Outputs:
        with torch.inference_mode():
            return tuple(output.numpy() for output in network(torch.from_numpy(pixels)))

    return predict


def _example(side: int) -> Tensor:
    """Two patches, so that no size of one is taken for a constant."""
    return torch.arange(2 * side * side * 3).remainder(256).to(torch.uint8).reshape(2, side, side, 3)


@contextmanager
def _tracing() -> Iterator[None]:
    """Quiet: both ways are deprecated for newer ones that need more, and patches have one size, which may be fixed."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


def _write_tensors(path: Path, stored: Final, networks: Networks, side: int, about: Mapping[str, str]) -> None:
    """Model and side are among what is known about it."""
    del stored, side
    write_tensors(path, networks, about)


FORMS = {
    "onnx": Form(_write_onnx, _open_onnx, "any ONNX runtime; neither PyTorch nor HistoTune is needed", "onnxruntime"),
    "torchscript": Form(_write_torchscript, _open_torchscript, "PyTorch alone, by torch.jit.load"),
    "safetensors": Form(
        _write_tensors,
        read_tensors,
        "HistoTune of the same version: the file holds tensors, and what rebuilds the networks around them as metadata "
        "(search.applied.served.read_tensors)",
    ),
}
