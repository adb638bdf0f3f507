"""Classical methods that users would pick instead of an agent; every module below registers its baselines."""

from importlib import import_module
from pkgutil import walk_packages

for _module in walk_packages(__path__, prefix=f"{__name__}."):
    import_module(_module.name)
