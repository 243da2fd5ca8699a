"""Words that tables contain in place of a value that is not known, in small letters."""

NO_VALUE = frozenset(
    {"", "-", "--", "?", "na", "n/a", "nan", "nil", "none", "null", "unk", "unknown", "not available", "not known", "missing"}
)
"""Words in place of any value."""
NO_PATIENT = NO_VALUE | {"0", "0.0"}
"""Words in place of a patient; 0 can be a lesion's number."""
