"""Clips to training batches."""
