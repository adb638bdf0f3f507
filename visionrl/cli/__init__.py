"""The command ``visionrl``; one file a command, imported when it is used."""
