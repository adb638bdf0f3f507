"""Use of a trained agent on new files."""
