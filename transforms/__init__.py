"""The steps of a job: pure functions and the PTransforms over them."""
