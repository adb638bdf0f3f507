"""Trace the objects of scikit-image's photographs: write visionrl/datasets/embedded/data/cutouts.json.

Each object is given by hand as a polygon, an ellipse, or a polygon around it that GrabCut (Rother, Kolmogorov
and Blake 2004) tightens; the coins are found by a watershed. Only outlines are stored: the pixels stay in the
installed scikit-image. Run: ``python scripts/make_cutouts.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded.cutouts import photograph

OUT = Path(__file__).resolve().parents[1] / "visionrl" / "datasets" / "embedded" / "data" / "cutouts.json"

# name: (photograph, centre x, centre y, half width, half height, degrees), in pixels
ELLIPSES = {
    "cat's left eye": ("chelsea.png", 169.5, 117.5, 34, 30, 15),
    "cat's right eye": ("chelsea.png", 320, 137, 23, 26, 20),
    "rear wheel": ("motorcycle_left.png", 200, 320, 77, 82, 0),
    "crater": ("moon.png", 121, 87.5, 25, 25, 0),
    "cell": ("cell.png", 428, 374.5, 62, 62, 0),
    "mission patch": ("astronaut.png", 170.5, 385.5, 36, 36, 0),
    "clock": ("clock_motion.png", 211.5, 155, 69, 59, 0),
    "retina": ("retina.jpg", 705, 705, 655, 655, 0),
}

# name: (photograph, x and y in turn), in pixels
POLYGONS = {
    "cat": (
        "chelsea.png",
        "47 0 392 0 378 20 364 50 355 76 360 110 358 140 348 175 333 205 316 235 309 260 284 282 255 "
        "288 200 294 152 290 130 278 112 252 84 232 64 200 52 165 42 130 36 80 38 40",
    ),
    "motorcycle": (
        "motorcycle_left.png",
        "95 206 97 199 120 202 145 206 148 195 141 166 144 156 155 148 162 150 165 161 200 169 240 "
        "167 260 172 300 191 325 194 350 190 380 178 395 170 384 158 358 172 357 165 390 141 410 123 "
        "424 120 446 138 468 141 471 122 495 116 500 97 520 87 536 101 552 121 562 124 579 121 580 "
        "133 561 150 551 206 574 259 610 274 629 286 642 305 645 313 659 326 674 351 682 380 682 405 "
        "671 433 650 447 620 448 591 441 561 423 537 394 522 364 517 331 507 323 513 301 525 290 511 "
        "252 497 214 487 232 470 240 478 285 477 302 470 331 454 358 425 376 345 373 341 386 342 430 "
        "329 430 326 368 275 367 258 380 230 397 200 400 172 393 147 372 129 340 123 306 126 280 135 "
        "256 150 240 125 235 112 245 104 240 110 226 96 220",
    ),
    "carton": ("motorcycle_left.png", "529 31 594 29 590 98 528 97"),
    "rocket": (
        "rocket.jpg",
        "322 128 328 135 332 146 333 160 333 176 331 184 331 204 314 204 314 184 312 176 312 160 313 "
        "146 317 135",
    ),
    "small gland": (
        "ihc.png",
        "284 308 300 312 320 322 340 337 363 347 373 357 378 400 378 430 373 468 363 492 340 504 317 "
        "502 302 488 282 458 264 438 257 413 254 385 254 350 260 337 272 327",
    ),
    "large gland": (
        "ihc.png",
        "292 0 427 0 443 60 453 120 456 170 448 220 438 258 424 291 407 293 367 277 342 252 317 218 "
        "302 193 288 160 283 100 293 50",
    ),
    "photographer's head": (
        "camera.png",
        "164 112 167 97 177 82 191 70 206 66 224 69 244 80 258 96 267 110 265 126 256 132 252 145 "
        "252 160 247 169 245 184 235 193 223 194 206 183 193 169 183 154 167 147 162 130",
    ),
    "video camera": (
        "camera.png",
        "255 143 275 141 321 140 324 149 317 154 319 179 300 184 276 183 264 174 261 152",
    ),
    "cup": (
        "coffee.png",
        "290 20 325 24 359 37 383 57 400 81 406 105 403 135 396 164 386 193 373 217 349 232 328 239 "
        "320 250 328 258 320 272 300 282 270 282 254 278 239 293 231 302 222 303 206 298 199 289 199 "
        "270 205 256 217 237 202 219 187 194 179 165 175 130 175 100 182 72 194 52 216 35 250 22",
    ),
    "cup and saucer": (
        "coffee.png",
        "151 81 122 102 100 131 84 170 79 210 81 240 89 269 102 298 127 333 161 361 201 377 250 386 "
        "300 387 344 381 389 362 428 333 453 299 468 264 476 230 476 206 468 171 453 141 433 117 416 "
        "104 422 82 422 75 414 69 406 70 398 75 383 57 359 37 325 24 290 20 250 22 216 35 194 52 180 "
        "74 167 77",
    ),
    "spoon": (
        "coffee.png",
        "380 222 387 238 397 250 403 268 403 290 394 307 379 319 360 323 344 316 333 302 328 285 331 "
        "268 340 255 353 247 369 239 374 226",
    ),
    "helmet": (
        "astronaut.png",
        "279 511 278 480 281 450 289 421 303 394 323 372 351 354 381 347 409 346 434 354 456 372 476 "
        "399 488 426 495 453 503 470 509 500 509 511",
    ),
    "badge": ("astronaut.png", "282 342 327 347 326 362 316 370 308 374 285 371"),
    "space shuttle": (
        "astronaut.png",
        "413 0 427 0 433 12 436 30 436 50 441 44 445 42 449 49 453 63 454 120 454 205 455 225 454 "
        "231 445 233 455 250 457 266 450 269 440 265 434 259 434 245 425 240 420 272 400 271 388 267 "
        "375 270 370 264 373 250 384 227 357 226 355 216 359 210 377 193 378 150 379 118 381 100 382 "
        "62 386 48 389 45 393 51 397 62 398 35 402 15 407 4",
    ),
    "flag": ("astronaut.png", "0 0 54 0 62 87 41 117 10 147 0 152"),
}

# name: (photograph, polygon around the object)
GRABCUTS = {
    "photographer": (
        "camera.png",
        "0 245 45 185 70 150 118 120 152 102 160 85 182 62 215 56 254 78 280 115 258 140 256 200 300 "
        "220 308 278 250 320 212 302 152 375 154 511 0 511",
    ),
    "astronaut": (
        "astronaut.png",
        "145 60 190 10 250 8 306 40 306 130 290 150 310 220 350 245 366 335 330 360 296 395 276 450 "
        "275 511 12 511 14 330 40 270 62 238 105 205 108 175 130 148 165 140 145 100",
    ),
    "astronaut's head": (
        "astronaut.png",
        "145 60 190 10 250 8 306 40 306 130 282 145 262 165 256 182 240 190 200 190 182 180 180 145 150 115",
    ),
}


def points(text: str) -> np.ndarray:
    """(N, 2) float polygon of a text of numbers."""
    return np.array(text.split(), np.float64).reshape(-1, 2)


def ellipse(x: float, y: float, half_width: float, half_height: float, degrees: float) -> np.ndarray:
    """(48, 2) float polygon."""
    turn, tilt = np.linspace(0, 2 * np.pi, 48, endpoint=False), np.radians(degrees)
    u, v = half_width * np.cos(turn), half_height * np.sin(turn)
    return np.stack([x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt)], 1)


def outline(mask: np.ndarray, tolerance: float = 0.6) -> np.ndarray:
    """(N, 2) polygon around the largest part of a (H, W) uint8 mask, a pixel inside its edge."""
    padded = cv2.copyMakeBorder(mask, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    inside = cv2.erode(cv2.medianBlur(padded, 5), np.ones((3, 3), np.uint8))[2:-2, 2:-2]
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.approxPolyDP(max(contours, key=cv2.contourArea), tolerance, True)[:, 0]


def grabcut(image: np.ndarray, around: np.ndarray) -> np.ndarray:
    """(N, 2) polygon of the object in a (H, W, 3) uint8 image that lies inside the polygon ``around``."""
    mask = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.fillPoly(mask, [around.astype(np.int32)], cv2.GC_PR_FGD)
    core = cv2.erode((mask == cv2.GC_PR_FGD).astype(np.uint8), np.ones((41, 41), np.uint8), borderValue=1)
    mask[core > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(image, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    return outline(((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8), 1.2)


def coins() -> dict[str, tuple[str, np.ndarray]]:
    """Outlines of the coins, by a watershed on the gradient from dark and bright seeds."""
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    grey = photograph("coins.png")[0]
    seeds = np.where(grey < 30, 1, np.where(grey > 150, 2, 0))
    filled = (watershed(sobel(grey), seeds) == 2).astype(np.uint8)
    contours, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, contours, -1, (1,), cv2.FILLED)
    opened = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, parts = cv2.connectedComponents(opened, connectivity=4)
    masks = [(parts == number).astype(np.uint8) for number in range(1, count)]
    found = [cv2.convexHull(outline(mask))[:, 0] for mask in masks if mask.sum() > 500]
    return {f"coin {number}": ("coins.png", hull) for number, hull in enumerate(found, 1)}


def main() -> None:
    """Trace every object and write the file."""
    shapes = {name: (source, ellipse(*rest)) for name, (source, *rest) in ELLIPSES.items()}
    shapes |= {name: (source, points(text)) for name, (source, text) in POLYGONS.items()}
    for name, (source, text) in GRABCUTS.items():
        image = np.ascontiguousarray(photograph(source).transpose(1, 2, 0))
        shapes[name] = (source, grabcut(image, points(text)))
    shapes |= coins()
    lines = [
        json.dumps({"name": name, "photograph": source, "outline": np.round(polygon, 1).tolist()})
        for name, (source, polygon) in sorted(shapes.items())
    ]
    OUT.parent.mkdir(exist_ok=True)
    temporary = OUT.with_suffix(".tmp")
    temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    os.replace(temporary, OUT)
    print(f"{len(lines)} outlines -> {OUT}")


if __name__ == "__main__":
    main()
