"""Human studies: which of two videos people prefer. Nothing here imports torch."""
