"""Arrays in, arrays out: the hot loops, each beside the readable twin that defines it."""
