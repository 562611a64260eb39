"""Noise schedule, sampler and low-rank adapters: what every diffusion backbone shares."""
