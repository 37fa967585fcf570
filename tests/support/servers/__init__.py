"""Servers that tests talk to, and what they sign with."""
