"""Learning from an expert: cloning, its values, demonstrations, guided exploration."""
