"""The embedded suite: a procedural captioned world and tiny real models trained on it."""
