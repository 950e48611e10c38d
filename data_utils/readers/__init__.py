"""Every form of --data, read into one PatchSet."""
