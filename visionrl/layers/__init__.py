"""Layers of networks: attention and spatial transformers; recurrent ones are those of ``torch.nn``."""
