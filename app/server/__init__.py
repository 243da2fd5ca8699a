"""`lesionflow serve`: an API for programs and a page for people, which answer with a registered version."""
