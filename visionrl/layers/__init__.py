"""Layers of networks: attention, recurrent cells, spatial transformers."""
