"""Commands on registered versions."""
