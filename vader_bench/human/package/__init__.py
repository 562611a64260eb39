"""Building a study: who sees what, videos encoded alike, the page, and the sealed plan."""
