"""Trained models that come with the library: ``visionrl list --models``; ``ship_model`` writes one."""
