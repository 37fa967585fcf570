"""What the daily DAG finds: uploads of a day, and runs that were published."""
