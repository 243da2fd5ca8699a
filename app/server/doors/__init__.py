"""What a request passes before a route sees it: request id, host, key, origin, limits."""
