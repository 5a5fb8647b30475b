"""The kernel's netlink, as far as a mesh needs it: messages, one socket, links, addresses, routes and rules.

Why not pyroute2: with 1,000 peers its WireGuard messages took 325 ms to encode and 191 ms to decode, on the event loop,
and its import 6 to 12 MB and 45 to 80 ms. Here it is 20 ms, 16 to 40 ms, and 1 MB with both backends.
"""
