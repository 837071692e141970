"""Networks: torch only, no losses and no files."""
