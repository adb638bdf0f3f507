"""``python -m visionrl`` is the command ``visionrl``."""

from visionrl.cli import main

main()
