"""What everything else stands on: elements, errors, storage and the run directory."""
