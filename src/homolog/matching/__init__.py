"""Which keypoints of two patients correspond."""
