"""Reads what metadata.csv tells about a person and a lesion into values that can be grouped. All functions are pure."""

import pandas as pd

from components.data_quality.patients import known_ids

OLDEST = 120
"""Years above which an age is a mistake or a code for "unknown"."""
SEXES = {"male": "male", "m": "male", "female": "female", "f": "female"}
SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
"""Fitzpatrick's skin types, from the lightest."""
NUMBERED_SKIN_TYPES = {str(number): name for number, name in enumerate(SKIN_TYPES, start=1)}


def ages(texts: "pd.Series[str]") -> "pd.Series[float]":
    """Ages in years; null if the text is no number from 0 to OLDEST."""
    years = pd.to_numeric(texts, errors="coerce").astype("float64")
    return years.where(years.between(0, OLDEST))


def sexes(texts: "pd.Series[str]") -> "pd.Series[str]":
    """`male` or `female`; null for everything else."""
    return texts.str.strip().str.casefold().map(SEXES).astype("str")


def sites(texts: "pd.Series[str]") -> "pd.Series[str]":
    """Parts of the body in small letters; null for placeholders."""
    return known_ids(texts).str.casefold()


def skin_types(texts: "pd.Series[str]") -> "pd.Series[str]":
    """Fitzpatrick's skin types `I` to `VI`, also from 1 to 6; null for everything else."""
    folded = texts.str.strip().str.upper().str.replace(r"\.0+$", "", regex=True)
    return folded.replace(NUMBERED_SKIN_TYPES).where(lambda found: found.isin(SKIN_TYPES)).astype("str")


READERS = {"age_approx": ages, "sex": sexes, "anatom_site_general": sites, "fitzpatrick_skin_type": skin_types}
"""How each column of metadata.csv that subgroups are formed from is read."""
