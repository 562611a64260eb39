"""Reading answers: strict, by pseudonym, blind to arms."""
