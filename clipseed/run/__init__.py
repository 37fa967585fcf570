"""The run directory: what a mining run leaves, and how it is read."""
