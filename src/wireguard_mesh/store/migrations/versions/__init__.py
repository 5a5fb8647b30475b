"""One file a version; the newest is named in `store.migrate.HEAD`."""
