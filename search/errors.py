"""How a command can end other than well, as a tree.

SearchError         one line for the user: what was found, what was expected, what to do
├── UsageError      what was asked for cannot be done as it was asked: exit code 2
└── SearchFailed    the work itself failed: exit code 1
Interrupted         a signal ended the work in order: exit code 128 + signal
"""


class SearchError(Exception):
    """A command cannot go on; the message is one line that says what to do."""


class UsageError(SearchError):
    """What was asked for cannot be done as it was asked; exit code 2."""


class SearchFailed(SearchError):  # noqa: N818 - the search failed, this is not an error of the program
    """The work itself failed, for example because every trial did; exit code 1."""


class Interrupted(BaseException):
    """A signal ended the work, in order.

    Not an ``Exception``, so that nothing between the signal and the command takes it for a failure and goes on.

    Attributes:
        signal: its number, 2 for Ctrl-C and 15 for SIGTERM.
        go_on: the command that continues the work; "" where there is none.
    """

    def __init__(self, signal: int, go_on: str = "") -> None:
        super().__init__(signal, go_on)
        self.signal = signal
        self.go_on = go_on
