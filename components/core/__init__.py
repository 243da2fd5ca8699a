"""The contract between stages: classes, paths, files, tables, architectures, errors."""
