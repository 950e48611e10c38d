"""``python -m search.export --model runs/NAME/cnn --format onnx --out cnn.onnx``: a final model as one file."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_export
from search.command.signals import Signals


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the file and its model card, once it says what PyTorch says."""
    settings = parse_export(argv)
    signals = Signals(command_line("export", argv))
    with signals.installed():
        from search.applied.export import export  # takes seconds to import; --help does not wait for it

        export(settings)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
