"""Saying what an image shows."""
