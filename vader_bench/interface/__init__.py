"""What notebooks use: models, videos, single runs, results. ``import vader_bench`` offers the names."""
