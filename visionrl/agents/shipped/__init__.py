"""Trained agents that come with the library: ``visionrl.load_agent(NAME)``, ``visionrl evaluate NAME``.

* ``landmarks3d-chest``: finds eight structures in chest CT (``visionrl/LandmarkLocalization3D-v0``); DQN after cloning,
  see docs/results/landmarks3d.md.

Each is a folder like that of a run, with its networks in half precision and without those that only training needs;
``training.saving.ship`` writes one.
"""

from pathlib import Path

HOME = Path(__file__).parent
