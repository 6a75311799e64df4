"""Commands that look into finished runs: what a network looks at, what its features are, what a batch decides."""
