"""The wire format: `search.proto`, and the code that `generate` makes of it."""
