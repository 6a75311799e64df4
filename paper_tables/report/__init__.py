"""One page of everything: tables, figures, the conformance matrix and the claims ledger."""
