"""Simulated raters, to try a study before people are asked. All that is made of them says so."""
