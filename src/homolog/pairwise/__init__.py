"""Two volumes to one map: an engine a file, each with a `register` of the same shape."""
