"""Search an index in process."""
