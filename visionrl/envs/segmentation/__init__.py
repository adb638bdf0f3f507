"""Tasks of segmentation."""
