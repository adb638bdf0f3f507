"""Following objects through videos."""
