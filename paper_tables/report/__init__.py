"""One page of everything that was found: tables, figures, the conformance matrix and the claims ledger."""
