"""Tests of the tests: single bugs that they must notice, the registry, and the suite as its users run it."""
