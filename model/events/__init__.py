"""Files of events as they are recorded, and how they are counted in bins."""
