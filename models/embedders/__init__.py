"""Image embedders, chosen by name."""
