"""Finds the searchable models: every file of this folder without a leading underscore, and those of other packages.

Importing this imports no torch; a model's file is imported when it is asked for by name.
"""

import ast
import difflib
import importlib
import pkgutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from models._errors import ModelError
from models._foreign import REQUIRED, files_of, import_foreign, is_foreign, typed_name
from models._spec import EPOCHS, Model

if TYPE_CHECKING:
    from torch import nn


def model_names() -> tuple[str, ...]:
    """Names of all searchable models, sorted; found without importing them."""
    found = {module.name for module in pkgutil.iter_modules(models.__path__)}
    return tuple(sorted(name for name in found if not name.startswith("_")))


def parameter_names(name: str) -> tuple[str, ...]:
    """Parameters of a model by the text of its file, which is not imported; none where DEFAULT is not written out."""
    body = ast.parse((Path(models.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")).body
    assigned = [line for line in body if isinstance(line, ast.Assign | ast.AnnAssign)]
    named = [line.value for line in assigned if ast.unparse(_target(line)) == "DEFAULT"]
    keys = [key for value in named if isinstance(value, ast.Dict) for key in value.keys]
    return tuple(str(key.value) for key in keys if isinstance(key, ast.Constant))


def load_model(name: str) -> Model:
    """The model of ``models/<name>.py``, or the one of another package.

    Raises:
        ModelError: there is no such file, or it lacks something that a model must offer.
    """
    module = _found(name)
    _check(module, name)
    epochs = getattr(module, "EPOCHS", EPOCHS)
    if type(epochs) is not int or epochs < 1:
        raise ModelError(f"EPOCHS of {words_for(name)} is {epochs!r}; a whole number from 1 on was expected.")
    return Model(
        name=name,
        suggest=module.suggest,
        default=module.DEFAULT,
        build=module.build,
        parameter_groups=getattr(module, "parameter_groups", one_group),
        pretrained=getattr(module, "PRETRAINED", False),
        layout=getattr(module, "LAYOUT", "contiguous"),
        prefix_name=getattr(module, "prefix_name", no_prefix),
        allowed=getattr(module, "ALLOWED", {}),
        before=getattr(module, "BEFORE", {}),
        epochs=epochs,
    )


def source_digest(name: str) -> str:
    """Sha256 of the text of a model's file: trials of an edited model are trials of another one.

    Of a model of another package that lies in several (``files_of``), sha256 of theirs.

    Raises:
        ModelError: there is no such model.
    """
    found = _found(name)
    paths = files_of(name, found) if is_foreign(name) else [Path(found.__file__)]
    digests = [sha256(path.read_bytes()).hexdigest() for path in paths]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


def words_for(name: str) -> str:
    """A model's file as messages name it."""
    return f"the file of {typed_name(name)}" if is_foreign(name) else f"models/{name}.py"


def one_group(network: "nn.Module", config: Any) -> list[dict[str, Any]]:
    """All trainable parameters at the recipe's rate; what a model without ``parameter_groups`` gets."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [{"params": trainable, "lr": config.recipe.learning_rate}]


def no_prefix(_: Any) -> None:
    """What a model without ``prefix_name`` gets."""


def _found(name: str) -> Any:
    """What offers the model: a module, or of another package also an object."""
    if is_foreign(name):
        return import_foreign(name)
    if name not in model_names():
        raise ModelError(_unknown(name))
    return importlib.import_module(f"models.{name}")


def _target(line: ast.Assign | ast.AnnAssign) -> ast.expr:
    return line.target if isinstance(line, ast.AnnAssign) else line.targets[0]


def _unknown(name: str) -> str:
    names = model_names()
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"There is no model '{name}'.{hint} Models: {', '.join(names)}."


def _check(module: Any, name: str) -> None:
    missing = [part for part in REQUIRED if not hasattr(module, part)]
    if missing:
        raise ModelError(
            f"{words_for(name)} offers no {', '.join(missing)}; a model needs {', '.join(REQUIRED)} "
            "(docs/adding-a-model.md); a file that is no model needs a name with a leading underscore."
        )
