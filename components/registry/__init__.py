"""Versions, verdicts and promotion."""
