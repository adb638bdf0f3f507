"""Tasks about videos as a whole: which parts to keep, to skip, to look at."""
