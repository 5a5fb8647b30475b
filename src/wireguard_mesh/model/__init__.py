"""Plain immutable values of the mesh: parsed once at the edge, then passed on as they are."""
