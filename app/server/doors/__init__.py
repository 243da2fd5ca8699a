"""What a request passes before a route sees it: id and log, head, host, key, origin, limits."""
