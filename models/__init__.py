"""Embedders that the jobs use."""
