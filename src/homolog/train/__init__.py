"""One visible recipe a trained network, and the loop that they share."""
