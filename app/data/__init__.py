"""Commands on the dataset."""
