"""Segmentation as a sequence of decisions."""
