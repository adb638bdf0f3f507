"""Tasks that make pictures better: the agent chooses operators, one after the other."""
