"""What a person touches: the `lesionflow` command line."""
