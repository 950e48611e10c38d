"""``python -m search.report``: writes the report again from what is stored; touches no patch."""

import sys
from collections.abc import Sequence

from search.command.outcome import run_command
from search.command.settings import parse_report


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report of a comparison and prints where it is."""
    settings = parse_report(argv)
    from search.comparison import Comparison  # these take seconds to import; --help does not wait for them
    from search.final.contents import write_comparison_report

    report, notes = write_comparison_report(Comparison.open(settings.common))
    sys.stdout.write("".join(f"{line}\n" for line in (*notes, f"report: {report}")))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
