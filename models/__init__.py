"""Searchable models: every file without a leading underscore is one."""
