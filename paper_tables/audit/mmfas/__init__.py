"""Claims of mmFAS (AAAI 2025), one file a table, and the text's own."""
