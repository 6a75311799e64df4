import data_manifests  # noqa: F401  # it says what Ctrl-C does to a command that is still loading
