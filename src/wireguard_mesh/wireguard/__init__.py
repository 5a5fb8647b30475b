"""WireGuard devices: one interface, one backend a file, each applying a whole wanted state."""
