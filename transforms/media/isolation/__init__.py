"""Decoding in a process that a bad input can neither leave nor take along."""
