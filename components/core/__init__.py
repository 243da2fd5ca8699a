"""The contract between stages: classes, params, paths, files, tables, errors."""
