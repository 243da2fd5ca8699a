"""Commands that import, compare, review and restore the dataset."""
