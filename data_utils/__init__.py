"""Patches on disk to a locked patient-wise split to tensors."""

from data_utils.interrupt import guard_imports

guard_imports()
