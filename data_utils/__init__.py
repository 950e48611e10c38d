"""Patches on disk to a locked patient-wise split to tensors."""

from data_utils._interrupt import guard_imports

guard_imports()
