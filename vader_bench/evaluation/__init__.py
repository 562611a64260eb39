"""Looking at a model: which videos, how they are made and scored, what else is measured of them."""
