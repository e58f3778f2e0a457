"""Tiny Stable Diffusion: a genuine diffusers StableDiffusionPipeline that trains on a CPU.

It plays the part that web-scale Stable Diffusion plays for LVIS: it knows the rare categories in
more guises than the detector's training set does. It learns from images and captions of the
training styles alone; nothing about masks is trained in.
"""
