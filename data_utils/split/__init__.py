"""Who is in train, validation and test: drawn once, locked, prepared, sealed."""
