"""Pure values and rules: no await, no clock, no randomness. Only the standard library and msgspec."""
