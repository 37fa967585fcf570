"""Helpers of the tests: made media, servers, runs and models."""
