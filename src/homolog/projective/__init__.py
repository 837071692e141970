"""X-rays and a volume: where the volume lies in them."""
