"""From records to a board: plain data that every renderer reads."""
