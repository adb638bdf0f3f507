"""Image encoders under one contract: `make_backbone(name, in_channels)` gives a module with `.num_features`.

Every module of this folder without a leading underscore is imported here, and registers its networks.
"""

from importlib import import_module
from pkgutil import iter_modules

from visionrl.backbones._backbone import Backbone, Classifier, Parts, named
from visionrl.backbones._libraries import check_library_name, is_library_name
from visionrl.backbones._registry import (
    as_backbone,
    list_backbones,
    make_backbone,
    make_classifier,
    register_backbone,
)
from visionrl.backbones.volumes import inflate

__all__ = [
    "Backbone",
    "Classifier",
    "Parts",
    "as_backbone",
    "check_library_name",
    "inflate",
    "is_library_name",
    "list_backbones",
    "make_backbone",
    "make_classifier",
    "named",
    "register_backbone",
]

for _module in iter_modules(__path__):
    if not _module.name.startswith("_") and not _module.ispkg:
        import_module(f"{__name__}.{_module.name}")
