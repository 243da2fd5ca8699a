"""Cross-validation on the training and validation images, whose views pass through the frozen base once. Nothing here reads test."""
