"""``python -m search.predict --model runs/NAME/vgg16 --data PATH --out predictions.csv``: a final model at work."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_predict
from search.command.signals import Signals


def main(argv: Sequence[str] | None = None) -> int:
    """Scores every patch and writes a table."""
    settings = parse_predict(argv)
    signals = Signals(command_line("predict", argv))
    with signals.installed():
        from search.applied.prediction import predict  # takes seconds to import; --help does not wait for it

        predict(settings)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
