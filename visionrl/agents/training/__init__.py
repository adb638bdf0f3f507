"""Training: configuration, models, checkpoints, run folders."""
