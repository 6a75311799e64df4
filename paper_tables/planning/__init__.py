"""Which runs a table needs, and running them."""
