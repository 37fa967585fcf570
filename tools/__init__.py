"""Checks that lint the repository itself; nothing here is installed."""
