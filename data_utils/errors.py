"""What can be wrong with data, as a tree.

DataError                   one line for the user: what was found, what was expected, what to do
├── NotFoundError           no patches at the place that was named
├── FormatError             a file that cannot be read as what its name promises
├── LabelError              labels other than 0 and 1, or a class without patches
├── TooFewPatientsError     fewer patients than a split by patient needs
├── LockMismatchError       the data or the settings are not those that the split was locked for
└── SealError               the test rows were asked for without the right to see them
"""


class DataError(Exception):
    """Something is wrong with the data; the message is one line that says what to do."""


class NotFoundError(DataError):
    """No patches were found at the place that was named."""


class FormatError(DataError):
    """A file cannot be read as what its name promises."""


class LabelError(DataError):
    """Labels other than 0 and 1, or a class without patches."""


class TooFewPatientsError(DataError):
    """Fewer patients than a split by patient needs."""


class LockMismatchError(DataError):
    """The data or the settings are not those that the split was locked for."""


class SealError(DataError):
    """The test rows were asked for without the right to see them."""
