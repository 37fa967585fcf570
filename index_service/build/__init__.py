"""Build an index: train, tune and audit it."""
