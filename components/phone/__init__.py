"""The package of a version for phones: TFLite files with metadata, labels, a contract and an example."""
