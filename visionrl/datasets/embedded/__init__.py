"""Data sets that come with the library: real pixels with exact truth."""
