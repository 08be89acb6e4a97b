"""What survives a restart: entries, the log of purges and small settled facts, in one SQLite file or in Redis."""
