"""The public suite: property tests of every equation and metric, for any implementation."""
