"""What is shown, as values that every renderer lays out in its own way."""
