"""Simple solids in a cube of voxels whose corners, ends, junctions, crossings and centres are known exactly."""
