"""Published architectures, a folder each."""
