"""Taking answers back: orders into the log, the log into the ledger, and freeing what died."""
