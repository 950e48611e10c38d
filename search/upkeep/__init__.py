"""Looks after what is there: explores patches, checks databases and folders, removes what no study needs."""
