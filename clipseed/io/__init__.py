"""Reading and writing files, wherever they are: disk, bucket or web."""
