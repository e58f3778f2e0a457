"""mf_plugin: labelled training images for rare categories from text-to-image diffusion."""

__version__ = "0.1.0"
