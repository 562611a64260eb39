"""Serving a study on this machine: Turkle in an environment of its own, and the site that it runs."""
