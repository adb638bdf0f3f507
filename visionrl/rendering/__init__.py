"""Pictures and films of episodes: a palette, a canvas, a GIF writer."""

from visionrl.rendering.canvas import PALETTE, Canvas, hues, usual_zoom
from visionrl.rendering.files import replacing
from visionrl.rendering.gif import gif_bytes, write_gif, write_png
from visionrl.rendering.planes import PlaneCanvas
from visionrl.rendering.window import why_no_window

__all__ = [
    "PALETTE",
    "Canvas",
    "PlaneCanvas",
    "gif_bytes",
    "hues",
    "replacing",
    "usual_zoom",
    "why_no_window",
    "write_gif",
    "write_png",
]
