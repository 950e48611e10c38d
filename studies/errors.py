"""What can be wrong with studies and their records, as a tree.

StudyError                  one line for the user: what was found, what was expected, what to do
├── StorageError            the database cannot be reached or is not one of ours
│   ├── StorageGoneError    it was there, went away, and was waited for in vain
│   ├── StorageLostError    it was there, and is not what it was: removed, emptied, closed to writing
│   └── NotStoredError      it does not hold this study or trial, or no longer
├── DefinitionMismatchError the study was begun with other settings than those asked for now
│   └── SpaceMismatchError  it holds a trial with another distribution of the same parameter
├── NoCompleteTrialError    a best trial was asked for where none is complete
├── RecordError             a stored record cannot be read
├── NotWrittenError         a file cannot be written, for example because the disk is full
└── SealBrokenError         lock, plan, predictions or log are not those that were recorded
"""


class StudyError(Exception):
    """Something is wrong with a study; the message is one line that says what to do."""


class StorageError(StudyError):
    """The database cannot be reached or is not one of ours."""


class StorageGoneError(StorageError):
    """The database was there, went away or was held by another process, and was waited for in vain.

    Attributes:
        reason: the driver's words, without a password.
    """

    def __init__(self, database: str, seconds: float, reason: str) -> None:
        super().__init__(
            f"the database {database} was waited for in vain for {seconds:.0f} s: {reason}. What it held before is kept"
        )
        self.reason = reason


class StorageLostError(StorageError):
    """The database was there, and is not what it was: its file was removed, its tables dropped, writing forbidden."""

    def __init__(self, database: str, reason: str) -> None:
        super().__init__(
            f"the database {database} is not what it was ({reason}): put it back, or allow writing to it and its folder"
        )


class NotStoredError(StorageError, KeyError):
    """The database does not hold this study or trial, or no longer; a KeyError too, as Optuna expects one."""

    __str__ = Exception.__str__  # a KeyError's would be in quotes

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the database does not hold {what}: it was deleted, perhaps in the dashboard, or never there. "
            "What it held comes back only from a backup"
        )


class DefinitionMismatchError(StudyError):
    """The study was begun with other settings than those asked for now."""


class SpaceMismatchError(DefinitionMismatchError, ValueError):
    """The study holds a trial with another distribution of the same parameter; a ValueError too, as Optuna expects."""


class NoCompleteTrialError(StudyError):
    """A best trial was asked for where none is complete."""


class RecordError(StudyError):
    """A stored record cannot be read."""


class NotWrittenError(StudyError):
    """A file cannot be written, for example because the disk is full."""


class SealBrokenError(StudyError):
    """Lock, plan, predictions or log are not those that were recorded."""
