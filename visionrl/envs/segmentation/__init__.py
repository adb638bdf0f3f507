"""Segmentation as decisions."""
