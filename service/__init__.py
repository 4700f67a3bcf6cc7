"""The gateway: photos and frames in, masks, cut-outs and composites out."""
