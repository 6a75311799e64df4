"""Every declared table by its name."""

from paper_tables.declarations import mmda, mmfas

TABLES = {table.name: table for table in (*mmfas.TABLES, *mmda.TABLES)}
