"""Patches on disk to a locked patient-wise split to tensors."""
