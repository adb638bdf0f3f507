"""Policies that remember what they saw, read words, or act in places."""
