"""Distributed engines on one machine, for tests and as a pattern for real clusters."""
