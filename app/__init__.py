"""The `lesionflow` command line."""
