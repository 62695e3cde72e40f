"""Programme, activities, events and materials."""
