"""Bytes, pixels, and the shards that hold them."""
