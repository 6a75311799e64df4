"""`python -m paper_tables.audit check TABLE`: whether anybody's printed table can be true."""
