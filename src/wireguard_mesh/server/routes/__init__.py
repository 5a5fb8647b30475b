"""The HTTP paths, a file an area."""
