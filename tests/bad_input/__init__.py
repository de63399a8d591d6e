"""What a user can do wrong, case by case, and what the command line says to each."""
