"""Layers of networks: attention, spatial transformers; recurrent ones are those of ``torch.nn``."""
