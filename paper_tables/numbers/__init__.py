"""From run folders to the numbers of a table's cells."""
