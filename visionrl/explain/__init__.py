"""Explanations of what a network looks at: Grad-CAM, deconvolution, occlusion maps."""
