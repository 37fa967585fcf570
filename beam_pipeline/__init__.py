"""The jobs: flags to a frozen config to a pipeline graph."""
