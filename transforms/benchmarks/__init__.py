"""Published retrieval benchmarks: annotations and clips."""
