"""Evaluation: policies, episodes, comparisons, tables, films."""
