"""Tests of the commands that look into finished runs."""
