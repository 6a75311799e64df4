"""What is declared: tables and their rows, probes, profiles and the papers' published numbers."""
