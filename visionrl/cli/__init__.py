"""The command ``visionrl``; one file a command."""

from visionrl.cli.main import main

__all__ = ["main"]
