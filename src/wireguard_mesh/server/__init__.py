"""The coordination server's shell: wiring, the one writer, HTTP. Decisions live in the core."""
