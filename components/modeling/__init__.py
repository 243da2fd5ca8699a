"""The network: backbone, classifier, saved files."""
