"""Many volumes at once, none of them the template."""
