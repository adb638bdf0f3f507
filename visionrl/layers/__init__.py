"""Layers of networks: attention, transformer blocks, spatial transformers; recurrent ones are those of ``torch.nn``."""
