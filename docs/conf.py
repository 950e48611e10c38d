"""The site that `make docs` builds: the Markdown pages of the root and of docs/ as they are, and the docstrings.

Sphinx reads this file. Its source folder is the root of the repository, so that a link between pages is the same on
disk, where code is hosted, and on the site. The site fetches nothing from elsewhere when it is read.
"""

import ast
import hashlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
API = ROOT / "docs" / "api"  # written anew by each build; git ignores it
PICTURE = ROOT / "docs" / "architecture.svg"
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGES = ("search", "studies", "data_utils", "models")
CONTENTS = {
    "To use it": (
        *("docs/own-data", "docs/exploration", "docs/runs", "docs/stopping", "docs/weights", "docs/frozen-layers"),
        *(
            "docs/predictions",
            "docs/export",
            "docs/library",
            "docs/many-machines",
            "docs/containers",
            "docs/operations",
            "docs/environment",
            "docs/exit-codes",
        ),
    ),
    "To believe it": (
        *("docs/lock", "docs/statistics", "docs/findings", "docs/report-json", "docs/trust", "docs/not-run"),
        "docs/reliability",
        *("SECURITY", "BENCHMARKS"),
    ),
    "To work on it": (*("CONTRIBUTING", "docs/architecture", "docs/files", "docs/adding-a-model", "CHANGELOG", "LOG"),),
}
"""Heading of the navigation -> its pages. A page that is missing here fails the build."""

sys.path.insert(0, str(ROOT))

project = "HistoTune"
html_title = "HistoTune"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/api/*.rst"]
exclude_patterns = [".*", "build", "data", "runs", "shared", "site", "tests", *PACKAGES]
myst_heading_anchors = 3
napoleon_attr_annotations = False  # else `numpy.str_` is taken for a link
autodoc_default_options = {"members": True, "member-order": "bysource", "ignore-module-all": True}
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # a page that was opened from the disk may not fetch others
smartquotes = False  # it would make a dash of two hyphens, with which flags begin


def setup(app: "Sphinx") -> None:
    """Joins what this file does to the steps of a build."""
    app.connect("builder-inited", lambda _: write_api_pages())
    app.connect("source-read", lambda _app, name, source: source.__setitem__(0, page(name, source[0])))
    app.connect("build-finished", _begin_at_the_readme)


def _begin_at_the_readme(app: "Sphinx", problem: Exception | None) -> None:
    if problem is None:
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def page(name: str, text: str) -> str:
    """A page as the site needs it: the drawn picture for its Mermaid source, and the navigation behind the README.

    Sphinx would need a script from elsewhere to draw Mermaid.

    Raises:
        ValueError: the picture was drawn from another source.
    """
    text = MERMAID.sub(lambda found: _figure(found[1]), text)
    return text + navigation() if name == root_doc else text


def _figure(source: str) -> str:
    if mark(source) not in PICTURE.read_text(encoding="utf-8"):
        raise ValueError(
            f"docs/{PICTURE.name} was drawn from another source than docs/architecture.md holds now: draw it again, "
            "CONTRIBUTING.md says how"
        )
    image = f"```{{image}} {PICTURE.name}\n:alt: What the text below says in words\n```"
    return f"````{{container}} drawn\n{image}\n````"


def mark(source: str) -> str:
    """What a picture holds, to say from which source it was drawn."""
    return f"drawn from {hashlib.sha256(source.encode()).hexdigest()}"


def navigation() -> str:
    """The contents of the site, which code hosts would show as raw text in the README itself."""
    api = tuple(f"docs/api/{place}" for place, _ in wings())
    parts = ["\n".join(pages) for pages in (*CONTENTS.values(), api)]
    captions = [*CONTENTS, "Docstrings"]
    return "".join(
        f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"
        for caption, pages in zip(captions, parts, strict=True)
    )


def wings() -> Iterator[tuple[str, list[str]]]:
    """Each package and each of its wings, with the modules in it that others may use."""
    for package in PACKAGES:
        for folder in (ROOT / package, *sorted(path.parent for path in (ROOT / package).glob("*/__init__.py"))):
            modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
            if modules:
                yield ".".join(folder.relative_to(ROOT).parts), modules


def write_api_pages() -> None:
    """One page a wing; those of wings that are gone are removed."""
    API.mkdir(exist_ok=True)
    pages = {f"{place}.rst": api_page(place, modules) for place, modules in wings()}
    for old in API.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        if not (API / name).is_file() or (API / name).read_text(encoding="utf-8") != text:  # else Sphinx reads it again
            (API / name).write_text(text, encoding="utf-8")


def api_page(place: str, modules: list[str]) -> str:
    """What a wing is for, then each of its modules by its docstrings."""
    says = ast.get_docstring(ast.parse(ROOT.joinpath(*place.split("."), "__init__.py").read_text(encoding="utf-8")))
    parts = [title(place, "="), says or ""]
    for module in modules:
        parts += [title(module, "-"), f".. automodule:: {place}.{module}"]
    return "\n\n".join(parts) + "\n"


def title(text: str, line: str) -> str:
    """A heading of reStructuredText."""
    return f"{text}\n{line * len(text)}"
