"""The layout, style and script of the pages, and what renders them."""
