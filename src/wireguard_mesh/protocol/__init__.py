"""Bytes to values and back: HTTP messages, signatures, WireGuard's own formats. No I/O."""
