"""What can be wrong with studies and their records, as a tree.

StudyError                  one line for the user: what was found, what was expected, what to do
├── StorageError            the database cannot be reached or is not one of ours
├── DefinitionMismatchError the study was begun with other settings than those asked for now
├── NoCompleteTrialError    a best trial was asked for where none is complete
├── RecordError             a stored record cannot be read
└── SealBrokenError         lock, plan, predictions or log are not those that were recorded
"""


class StudyError(Exception):
    """Something is wrong with a study; the message is one line that says what to do."""


class StorageError(StudyError):
    """The database cannot be reached or is not one of ours."""


class DefinitionMismatchError(StudyError):
    """The study was begun with other settings than those asked for now."""


class NoCompleteTrialError(StudyError):
    """A best trial was asked for where none is complete."""


class RecordError(StudyError):
    """A stored record cannot be read."""


class SealBrokenError(StudyError):
    """Lock, plan, predictions or log are not those that were recorded."""
