"""Decisions without I/O, clock or randomness: the time and random bytes are arguments."""
