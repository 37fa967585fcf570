"""The parts of the mining job: settings, checks, plan and sources."""
