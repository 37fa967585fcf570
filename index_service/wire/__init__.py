"""What goes over the wire: `search.proto`, and the code that `generate` makes of it."""
