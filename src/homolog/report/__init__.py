"""Results as pages and pictures, made from files and arrays, with no drawing library."""
