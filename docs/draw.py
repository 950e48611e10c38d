"""Draws docs/architecture.svg anew from the Mermaid source in docs/architecture.md; for who changed that source.

    python docs/draw.py PATH/mermaid.min.js

The script is of the npm package `mermaid` (node_modules/mermaid/dist/ after `npm install mermaid`). It runs in the
browser that the tests use ($HISTOTUNE_CHROMIUM, by default chromium). Building the site needs neither.
"""

import os
import shutil
import sys
from pathlib import Path

from conf import MERMAID, PICTURE, mark
from playwright.sync_api import sync_playwright

LOOK = """{startOnLoad: false, theme: 'neutral', fontFamily: 'sans-serif', deterministicIds: true, htmlLabels: false,
           flowchart: {htmlLabels: false, useMaxWidth: false}}"""


def main(script: str) -> None:
    """Writes the picture, with the mark of its source in it."""
    source = found[1] if (found := MERMAID.search(PICTURE.with_suffix(".md").read_text(encoding="utf-8"))) else ""
    with sync_playwright() as playwright:
        program = shutil.which(os.environ.get("HISTOTUNE_CHROMIUM", "chromium"))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(path=script)
        svg = page.evaluate(
            f"source => (mermaid.initialize({LOOK}), mermaid.render('architecture', source).then(drawn => drawn.svg))",
            source,
        )
        browser.close()
    PICTURE.write_text(f"<!-- {mark(source)} -->\n{svg}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve().as_posix())
