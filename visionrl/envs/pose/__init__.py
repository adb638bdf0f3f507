"""Pose: points of a body in space from several cameras, and in an image as parameters of a model."""
