"""Runs the snippets of docs/library.md in one process, the first search twice, as Ctrl-C ends it once.

Not imported: it is the program of a process of its own, whose state it compares before and after.
"""

import faulthandler
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import psutil

from search.api import SearchError, status
from search.workers._ray import changed_here, runs_here


def state() -> dict[str, object]:
    """What a call might leave behind."""
    loggers = {name: logging.getLogger(name) for name in ("histotune", "ray", "optuna", "")}
    return {
        "signals": {number: str(signal.getsignal(number)) for number in signal.valid_signals()},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "environment": dict(os.environ),
        "ray": runs_here(),
        "ray's own": str(changed_here()),
        "children": sorted(child.name() for child in psutil.Process().children(recursive=True)),
        "warnings": str(warnings.filters),
        "hooks": [str(sys.unraisablehook), str(sys.excepthook), str(threading.excepthook)],
        "streams": [str(sys.stdout), str(sys.stderr)],
        "faulthandler": faulthandler.is_enabled(),
        "logging": {name: (one.level, one.propagate, str(one.handlers)) for name, one in loggers.items()},
        "raising": logging.raiseExceptions,
        "folder": str(Path.cwd()),
        "path": list(sys.path),
        "databases": [file.path for file in psutil.Process().open_files() if file.path.endswith(".db")],
        "locale": str(sys.stdout.encoding),
    }


def interrupt_when_it_runs() -> None:
    """Presses Ctrl-C once there is a study: its Ray takes seconds to start, and is waited for."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if any(study.trials for study in status()):
                break
        except SearchError:
            """There is no database yet."""
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)


def interrupt(snippet: str, names: dict[str, object]) -> str:
    """What is raised."""
    pressing = threading.Thread(target=interrupt_when_it_runs)
    pressing.start()
    try:
        exec(snippet, names)
    except KeyboardInterrupt as ended:
        return str(ended)
    finally:
        pressing.join()
    return ""


def in_a_thread(snippet: str, names: dict[str, object]) -> None:
    """Runs it elsewhere than in the main thread."""
    thread = threading.Thread(target=exec, args=(snippet, names))
    thread.start()
    thread.join()


def main() -> None:
    text = Path(os.environ.pop("SNIPPETS")).read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    printed, warned, interrupted = io.StringIO(), io.StringIO(), ""
    import optuna  # noqa: F401 - what an import leaves is no call's
    import ray.tune  # noqa: F401

    before = state()
    try:
        with redirect_stdout(printed), redirect_stderr(warned):
            for snippet in snippets:
                interrupted = interrupted or (interrupt(snippet, names) if "launch(model" in snippet else "")
                run = in_a_thread if "finalize(" in snippet else exec
                run(snippet, names)
    except BaseException:
        print(printed.getvalue(), warned.getvalue(), file=sys.stderr)
        raise
    logging.getLogger("histotune").handlers.clear()  # the docs add one
    until = time.monotonic() + 30  # the last of Ray's agents end a moment after it, on a busy machine
    while len(psutil.Process().children(recursive=True)) > len(before["children"]) and time.monotonic() < until:
        time.sleep(0.1)
    after = state()
    told = {
        "snippets": len(snippets),
        "seconds": sum(psutil.Process().cpu_times()[:4]),
        "printed": printed.getvalue(),
        "warned": warned.getvalue(),
        "interrupted": interrupted,
        "left": {key: [before[key], after[key]] for key in before if before[key] != after[key]},
    }
    Path("told.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


main()
