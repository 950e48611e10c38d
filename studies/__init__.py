"""What outlives a run: studies in SQL, the ledger, statistics and the report. Needs no torch and no Ray."""
