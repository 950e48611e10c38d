"""The colours of patches: preprocessing, stain jitter, the dihedral views."""
