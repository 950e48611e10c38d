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

    Raises:
        ModelError: it lies in no file.
    """
    place, _, last = name.rpartition(".")
    module = found if isinstance(found, ModuleType) else _named_in(importlib.import_module(place), last, found)
    if module.__file__ is None:
        raise ModelError(f"The model {typed_name(name)} is no file: expected a Python file that offers it.")
    parts = [_file_of_code(getattr(found, part, None)) for part in ("suggest", "build")]
    return list(dict.fromkeys(path.resolve() for path in (Path(module.__file__), *parts) if path is not None))


def _named_in(module: ModuleType, last: str, found: Any) -> ModuleType:
    """The module that gives an object its name, behind those that import it from there: an ``__init__.py``, mostly."""
    passed = {module}
    while True:
        sources = [(importlib.import_module(source), there) for source, there in _imports(module, last)]
        sources = [(source, there) for source, there in sources if getattr(source, there, None) is found]
        if not sources or sources[-1][0] in passed:
            return module
        module, last = sources[-1]
        passed.add(module)


def _imports(module: ModuleType, last: str) -> list[tuple[str, str]]:
    """(module, name there) of each line of a module that may have imported an object of this name."""
    try:
        body = ast.parse(Path(module.__file__ or "").read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # compiled
        return []
    found = []
    for line in body:
        if isinstance(line, ast.ImportFrom):
            source = importlib.util.resolve_name("." * line.level + (line.module or ""), module.__package__)
            names = {alias.asname or alias.name: alias.name for alias in line.names}
            found += [(source, names.get(last, last))] if names.keys() & {last, "*"} else []
    return found


def _file_of_code(part: Any) -> Path | None:
    """The file of a function, beneath what decorates it; None for what is none, or is no Python."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(part))
    except (TypeError, ValueError):
        return None
    return None if file is None else Path(file)


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
