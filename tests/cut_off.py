"""A finalization that is killed as it is about to call a function."""

import signal
import sys

from tree import FORKS, Tree

KILLED_AT = """
import importlib, os, signal, sys

where, name = sys.argv.pop(1).split(":")
owner = importlib.import_module(where)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)

def cut(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

import search.final.procedure  # so that it imports the function as it was
setattr(owner, name.split(".")[-1], cut)
from search.finalize import main
main(sys.argv[1:])
"""


def killed_at(tree: Tree, study: str, function: str, *more: str) -> None:
    """Finalizes a study until it is about to call ``module:function``, and kills it there."""
    arguments = tree.command("finalize", "--study", study, *more)[3:]
    command = [sys.executable, "-c", KILLED_AT, function, *arguments]
    done = FORKS.run(command, folder=tree.folder, environment=tree.environ(), seconds=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "Go on with: python -m" in done.stderr
