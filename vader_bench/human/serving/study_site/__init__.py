"""The site that raters see. It runs in Turkle's own environment, and imports nothing of vader-bench."""
