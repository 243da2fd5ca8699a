"""Which split each group of images is in: of a new dataset, and of a dataset that grew."""
