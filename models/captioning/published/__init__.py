"""Published captioners."""
