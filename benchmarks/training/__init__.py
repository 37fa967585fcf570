"""What reading clips and training cost."""
