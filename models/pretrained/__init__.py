"""Published checkpoints: read, checked and fitted."""
