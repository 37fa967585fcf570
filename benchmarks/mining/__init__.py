"""What mining costs."""
