"""Decodes image files to pixels and stores views as TFRecord shards."""
