"""Ask a served index."""
