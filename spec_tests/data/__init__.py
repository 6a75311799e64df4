"""Tests of the data adapters, the index, protocols, verification and the phantom renderer."""
