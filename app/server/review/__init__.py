"""Review of the dataset in the browser: the findings of `validate`, and decisions about their files."""
