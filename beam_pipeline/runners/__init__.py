"""Where a job runs: in process, on Flink or on Dataflow."""
