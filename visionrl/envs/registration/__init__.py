"""Registration: bring a moving image onto a fixed one."""
