"""Files: write runs to files and read them back."""
