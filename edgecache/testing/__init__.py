"""Public helpers for tests and benchmarks. Nothing here is imported by the running proxy."""
