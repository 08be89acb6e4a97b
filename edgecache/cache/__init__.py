"""Answers in memory: found by the same question (exact), by a question near it (semantic), or while being made (flights)."""
