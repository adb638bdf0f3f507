"""Policies that remember what they saw."""
