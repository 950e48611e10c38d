"""Our own tables: locks, launches, plans and openings, chained by hash."""
