"""Writing a run directory from a pipeline."""
