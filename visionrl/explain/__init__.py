"""What a network looks at: Grad-CAM, deconvolution, occlusion maps."""
