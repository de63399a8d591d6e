"""What is known of each model: cards, and the registry that finds them by name."""
