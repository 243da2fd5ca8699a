"""The forms of datasets that an import recognises, one YAML file each, and the columns that it reads (columns.yaml)."""
