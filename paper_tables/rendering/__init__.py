"""A table's numbers as text, Markdown, LaTeX, JSON, pictures and one page."""
