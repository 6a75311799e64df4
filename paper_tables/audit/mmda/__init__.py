"""Claims of MMDA (version 1), one file a table, and those of the text and of the released code."""
