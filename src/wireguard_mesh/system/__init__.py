"""The operating system's routes, rules, firewall and links: one interface a seam, one file an OS."""
