"""A real browser for pages that we write, and axe-core to look at them.

Needs Debian's ``chromium`` (or ``$HISTOTUNE_CHROMIUM``); axe-core comes from npm.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
)
AXE = "4.14.1"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; tests that want to see are skipped where there is none."""
    chromium = os.environ.get("HISTOTUNE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, from npm once and then from a folder of its own."""
    cache = Path(tempfile.gettempdir()) / f"histotune-axe-{AXE}"
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, axe-core cannot be fetched")
        command = [npm, "install", "--prefix", str(cache), "--no-audit", "--no-fund", f"axe-core@{AXE}"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if found.returncode:
            pytest.skip(f"npm could not fetch axe-core: {found.stderr.strip()[-200:]}")
    return script.read_text(encoding="utf-8")
