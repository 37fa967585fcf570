"""Models for tests: tiny, and in the files that published ones come in."""
