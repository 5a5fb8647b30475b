"""A self-hosted WireGuard mesh: a coordination server and a client agent."""

__version__ = "0.1.0"
