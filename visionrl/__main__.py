"""``python -m visionrl`` is the command ``visionrl``."""

from visionrl.cli.main import main

main()
