"""Looks after what is there: explores patches, checks and moves databases, checks folders, removes what is left."""
