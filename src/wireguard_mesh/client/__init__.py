"""The agent's shell: wiring, engine loop, control connection, local socket. Decisions live in the core."""
