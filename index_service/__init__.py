"""The seed index: build, tune, store, search."""
