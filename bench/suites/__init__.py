"""What is measured: pytest collects the files here."""
