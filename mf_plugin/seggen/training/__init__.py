"""Training of Text2Mask and Mask2Img."""
