"""The server's database: one method a noun and verb, on SQLAlchemy Core."""
