"""Answers in memory: found by the same question (exact), by one near it (semantic), or while being made (flights)."""
