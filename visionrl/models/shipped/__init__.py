"""Trained models that come with the library: ``visionrl list --models``; ``supervised.models.ship_model`` writes one."""
