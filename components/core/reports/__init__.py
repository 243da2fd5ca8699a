"""The JSON reports that one stage writes and others read, as typed, frozen documents."""
