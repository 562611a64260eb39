"""What a study found, and how large one has to be."""
