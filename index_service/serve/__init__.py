"""Serve an index over gRPC."""
