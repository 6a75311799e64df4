"""Tests of the comparison rows: one file over all of them, and one a row for its own mathematics."""
