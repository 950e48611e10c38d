"""``python -m search.heatmap --model runs/NAME/cnn --data PATH --out DIR``: what a final model says of whole slides."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_heatmap
from search.command.signals import Signals


def main(argv: Sequence[str] | None = None) -> int:
    """Scores the patches of each slide, and writes a page and a picture a slide."""
    settings = parse_heatmap(argv)
    signals = Signals(command_line("heatmap", argv))
    with signals.installed():
        from search.applied.heatmap import heatmap  # takes seconds to import; --help does not wait for it

        heatmap(settings)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
