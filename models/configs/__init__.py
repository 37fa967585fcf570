"""Settings of training runs: each module has one `config`."""
