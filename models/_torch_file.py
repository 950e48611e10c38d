"""Tensors from a ``.pth`` file as PyTorch writes it.

``torch.load`` with ``weights_only=True`` builds tensors and plain containers only, and calls nothing that a file names.
What a file claims is held against its size before that, so that no few bytes grow to many.
"""

import io
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy.typing as npt

from models._errors import WeightsError

_ZIP = b"PK\x03\x04"
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How such a file begins: since PyTorch 1.6, and before, as that of torchvision does."""
_PICKLES = 5
"""Of an old file, before the numbers: magic number, version, machine, tensors, keys."""
_MOST_DESCRIBED = 2**20  # bytes of what describes the tensors; for VGG16 it has 3,000
_MOST_TENSORS = 1000
_SAVE = "save tensors alone: torch.save(model.state_dict(), PATH)"


def is_torch_file(path: Path) -> bool:
    """Whether it begins like one."""
    with path.open("rb") as file:
        return file.read(len(_OLD)).startswith((_ZIP, _OLD))


def read_torch_file(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Its tensors by name, without those of the classifier.

    Names are torchvision's, ``features.N.weight``; those of ``model.features`` alone, ``N.weight``, are as good.

    Raises:
        WeightsError: it holds something else, or more than it may.
    """
    with path.open("rb") as file:
        packed = file.read(len(_ZIP)) == _ZIP
    (_check_members if packed else _check_pickles)(path)
    content = _tensors(_load(path, mapped=packed), path)
    tensors = {name: tensor for name, tensor in content.items() if not name.startswith("classifier.")}
    if all(name.partition(".")[0].isdecimal() for name in tensors):
        tensors = {f"features.{name}": tensor for name, tensor in tensors.items()}
    return {name: _numbers(tensor, name, path) for name, tensor in tensors.items()}


def _check_members(path: Path) -> None:
    """Nothing is packed, so that nothing unpacks to more than the file's size, which is bounded."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is not a readable .pth file ({error}); fetch it again.") from error
    described = sum(one.file_size for one in members if not one.filename.rpartition("/")[2].isdecimal())
    size = sum(one.file_size for one in members)
    packed = any(one.compress_type != zipfile.ZIP_STORED for one in members)
    if packed or described > _MOST_DESCRIBED or size > path.stat().st_size:
        raise WeightsError(f"{path} is no file that torch.save wrote: its parts are packed or too large; {_SAVE}.")


def _check_pickles(path: Path) -> None:
    """What describes the tensors is short; it is looked through, not run."""
    with path.open("rb") as file:
        start = io.BytesIO(file.read(_MOST_DESCRIBED))
    try:
        for _ in range(_PICKLES):
            for _ in pickletools.genops(start):
                pass
    except Exception as error:  # of a damaged one it raises anything
        raise WeightsError(f"{path} is not a readable .pth file, or describes too much; {_SAVE}.") from error


def _load(path: Path, *, mapped: bool) -> Any:
    import torch  # takes a second, and most weights do without

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of rare kinds of tensor, which are refused
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a file can have the reader raise anything; of its words the first line is enough
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} does not hold tensors alone ({reason[:200]}); {_SAVE}.") from error


def _tensors(content: Any, path: Path) -> dict[str, Any]:
    import torch

    if not isinstance(content, dict) or not 0 < len(content) <= _MOST_TENSORS:
        raise WeightsError(f"{path} holds {type(content).__name__}, expected up to {_MOST_TENSORS} tensors; {_SAVE}.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"{path}: {str(name)[:80]} is {type(value).__name__}, expected a tensor; {_SAVE}.")
    return content


def _numbers(tensor: Any, name: str, path: Path) -> npt.NDArray[Any]:
    """A tensor's own numbers: a view of a few can claim to be many."""
    import torch

    if tensor.dtype != torch.float32 or tensor.layout != torch.strided or not tensor.is_contiguous():
        raise WeightsError(f"{path}: {name[:80]} is {tensor.dtype}, expected float32 in one piece; {_SAVE}.")
    numbers: npt.NDArray[Any] = tensor.detach().numpy().copy()  # the file may be gone tomorrow
    return numbers
