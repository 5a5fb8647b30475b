"""A relay and rendezvous as a process of its own: sockets, timers, and who supervises it."""
