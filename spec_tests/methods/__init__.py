"""Tests of networks, training, comparison rows and run folders."""
