"""What searching the index costs."""
