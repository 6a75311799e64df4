"""Tests of the tables, the audit and the report."""
