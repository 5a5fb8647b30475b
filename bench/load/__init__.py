"""A load generator: as many clients as asked, in one process, that speak the real protocol with real signatures.

It shares the cores with the server that it measures, so each client is as cheap as can be, but none is pretended:

* `signing`: every request is signed by its own client's key, for the server process that the client last spoke to.
* `calls`: registrations, heartbeats and farewells, over a few connections that are kept alive.
* `streams`: one connection a client, read by a bare `asyncio.Protocol`.
* `maps`: what a client has is worked out from the bytes that it received. Many clients receive the same bytes, so that
  is worked out once for all that were in the same state before.
* `delays`: when each change came to each client.
* `fleet`: all of them together; `churn`: changes at a given rate.
"""
