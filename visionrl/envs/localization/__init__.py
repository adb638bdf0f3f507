"""Finding points in images."""
