"""Finds problems of a dataset and applies the policy for them."""
