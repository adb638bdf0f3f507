"""Adapters to Stable-Baselines3: vector environment and replay buffer."""
