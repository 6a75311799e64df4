"""What the papers of two rows or more share. A row may import blocks, never another row."""
