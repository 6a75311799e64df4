"""The claims ledger: what the two papers state or imply in numbers, checked from their printed numbers alone."""
