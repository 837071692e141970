"""From a volume to keypoints, one method a file."""
