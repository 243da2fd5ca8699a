"""The bundled sample and the starter weights: procedural dermoscopy images. No stage imports it."""
