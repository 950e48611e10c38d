"""Models of other packages, named by where they are imported from: "package.module:MODEL".

What stands behind the colon is a file of the package, as those of this folder are, or an object of the module that
offers the same. Stored, in folders and in names of studies, a dot stands for the colon: "package.module.MODEL".
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from models._errors import ModelError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*[.:][A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 80  # characters: it is a part of a folder's name
REQUIRED = ("suggest", "DEFAULT", "build")
"""What every model offers."""


def is_foreign(name: str) -> bool:
    """Whether a name is that of another package's model: those of this folder have neither dot nor colon."""
    return "." in name or ":" in name


def stored_name(typed: str) -> str | None:
    """The name as it is stored; None for what can be none."""
    return typed.replace(":", ".") if _NAME.fullmatch(typed) and len(typed) <= _LONGEST else None


def typed_name(name: str) -> str:
    """The name as it is typed: the inverse of ``stored_name``."""
    module, _, last = name.rpartition(".")
    return f"{module}:{last}"


def import_foreign(name: str) -> Any:
    """The module or object that a stored name stands for.

    Raises:
        ModelError: there is none, or importing it fails.
    """
    if stored_name(name) is None:
        raise ModelError(f"There is no model {name[:_LONGEST]!a}: expected package.module:MODEL.")
    place, _, last = name.rpartition(".")
    module = _imported(place, name)
    if hasattr(module, last):
        return getattr(module, last)
    if hasattr(module, "__path__") and importlib.util.find_spec(name) is not None:
        return _imported(name, name)
    raise ModelError(f"There is no model {typed_name(name)}: the module {place} has no '{last}'.{_hint(module, last)}")


def files_of(name: str, found: Any) -> list[Path]:
    """The files in which a model is written: where it gets its name, and those of its ``suggest`` and ``build``.

    What ``exec`` has made, or lies in a zip, is in no file that could be read.

    Raises:
        ModelError: it lies in no file at all.
    """
    place, _, last = name.rpartition(".")
    module = found if isinstance(found, ModuleType) else _named_in(importlib.import_module(place), last, found)
    places = [getattr(module, "__file__", None)]
    places += [_file_of_code(getattr(found, part, None)) for part in ("suggest", "build")]
    paths = [Path(one).resolve() for one in places if one is not None and Path(one).is_file()]
    if not paths:
        raise ModelError(
            f"The model {typed_name(name)} lies in no file that can be read (found: {places[0] or 'a folder'}): "
            "expected a Python file that offers it, in a package that is unpacked into a folder."
        )
    return list(dict.fromkeys(paths))


def _named_in(module: ModuleType, last: str, found: Any) -> ModuleType:
    """The module that gives an object its name, behind those that pass it on from there: an ``__init__.py``, mostly."""
    here, passed = (module, last), set[tuple[ModuleType, str]]()
    while here not in passed:
        passed.add(here)
        sources = [one for one in _sources(*here) if one not in passed and getattr(*one, None) is found]
        here = sources[-1] if sources else here
    return here[0]


def _sources(module: ModuleType, name: str) -> list[tuple[ModuleType, str]]:
    """(module, name there) of each line of a module, at any depth, that may have passed on an object of this name.

    Lines that were not run may be among them, as those of an ``except ImportError``.
    """
    try:
        lines = [*ast.walk(ast.parse(Path(module.__file__ or "").read_bytes()))]
    except (OSError, SyntaxError, ValueError):  # compiled
        return []
    imported = [_imported_by(line, module, name) for line in lines if isinstance(line, ast.ImportFrom)]
    assigned = [_assigned_by(line, module, name) for line in lines if isinstance(line, ast.Assign | ast.AnnAssign)]
    return [one for one in (*imported, *assigned) if one is not None]


def _imported_by(line: ast.ImportFrom, module: ModuleType, name: str) -> tuple[ModuleType, str] | None:
    """Of "from .net import MODEL"."""
    names = {alias.asname or alias.name: alias.name for alias in line.names}
    there = names.get(name, name if "*" in names else None)
    try:
        source = importlib.util.resolve_name("." * line.level + (line.module or ""), module.__package__)
    except ImportError:  # above the package
        return None
    return (sys.modules[source], there) if there is not None and source in sys.modules else None


def _assigned_by(line: ast.Assign | ast.AnnAssign, module: ModuleType, name: str) -> tuple[ModuleType, str] | None:
    """Of "MODEL = net.MODEL", or of "MODEL = NET" in the same module."""
    targets = line.targets if isinstance(line, ast.Assign) else [line.target]
    if not isinstance(line.value, ast.Name | ast.Attribute) or name not in map(ast.unparse, targets):
        return None
    *path, there = ast.unparse(line.value).split(".")
    source: Any = module
    for part in path:
        source = getattr(source, part, None)
    return (source, there) if isinstance(source, ModuleType) else None


def _file_of_code(part: Any) -> str | None:
    """The file of a function; None for what is none, or is no Python."""
    try:
        return inspect.getsourcefile(_function_of(part))
    except (TypeError, ValueError):
        return None


def _function_of(part: Any) -> Any:
    """What runs when it is called: beneath what decorates it or gives it arguments, of an object its ``__call__``."""
    beneath = inspect.unwrap(part)
    if isinstance(beneath, partial):
        return _function_of(beneath.func)
    if inspect.isroutine(beneath) or inspect.isclass(beneath):
        return beneath
    return _function_of(type(beneath).__call__)


def import_folders(names: tuple[str, ...]) -> tuple[str, ...]:
    """The folders in which the packages of foreign models lie, for other processes to look in."""
    specs = [importlib.util.find_spec(name.partition(".")[0]) for name in names if is_foreign(name)]
    places = [[*(spec.submodule_search_locations or ()), *filter(None, [spec.origin])] for spec in specs if spec]
    return tuple(dict.fromkeys(str(Path(found[0]).resolve().parent) for found in places if found))


def _imported(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise ModelError(
            f"There is no model {typed_name(name)}: no module '{error.name}' is found here. Install its package in "
            "this environment, on every machine of a search, or put its folder on PYTHONPATH."
        ) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> ModelError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return ModelError(f"The model {typed_name(name)} cannot be imported ({reason}): mend its file or its package.")


def _hint(module: ModuleType, last: str) -> str:
    """What else may have been meant."""
    if all(hasattr(module, part) for part in REQUIRED):
        return f" The module itself is a model: give {typed_name(module.__name__)}."
    offered = [name for name, value in vars(module).items() if all(hasattr(value, part) for part in REQUIRED)]
    close = difflib.get_close_matches(last, offered, n=1) or offered[:1]
    return f" Did you mean {module.__name__}:{close[0]}?" if close else ""
