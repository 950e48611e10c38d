"""What can be wrong with studies and their records, as a tree.

StudyError                  one line for the user: what was found, what was expected, what to do
├── StorageError            the database cannot be reached or is not one of ours
│   └── StorageGoneError    it was there, went away, and was waited for in vain
├── DefinitionMismatchError the study was begun with other settings than those asked for now
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


class DefinitionMismatchError(StudyError):
    """The study was begun with other settings than those asked for now."""


class NoCompleteTrialError(StudyError):
    """A best trial was asked for where none is complete."""


class RecordError(StudyError):
    """A stored record cannot be read."""


class NotWrittenError(StudyError):
    """A file cannot be written, for example because the disk is full."""


class SealBrokenError(StudyError):
    """Lock, plan, predictions or log are not those that were recorded."""
