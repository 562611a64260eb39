"""What an experiment asks for, and what it would cost: worked out from its files, before anything runs."""
