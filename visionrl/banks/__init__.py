"""Banks hold the pixels of a split once; a state holds an index into its bank."""
