"""What the jobs that caption videos without seeds share."""
