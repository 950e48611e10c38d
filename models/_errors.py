"""What can be wrong with models, as a tree.

ModelError          one line for the user: what was found, what was expected, what to do
└── WeightsError    pretrained weights are missing, damaged or not what they should be
"""


class ModelError(Exception):
    """Something is wrong with a model; the message is one line that says what to do."""


class WeightsError(ModelError):
    """Pretrained weights are missing, damaged or not what they should be."""
