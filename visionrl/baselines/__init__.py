"""What users would pick instead of an agent: classical methods; every module below registers its rows."""

from importlib import import_module
from pkgutil import walk_packages

for _module in walk_packages(__path__, prefix=f"{__name__}."):
    import_module(_module.name)
