"""Speed: what the step that trains takes, what each of its ingredients costs, and how others' code does the same."""
