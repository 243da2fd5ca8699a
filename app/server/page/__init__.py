"""The page for people: server-rendered, works without JavaScript, and loads nothing from another host."""
