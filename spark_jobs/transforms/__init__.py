"""Pure transforms: DataFrame to DataFrame, no reading, no writing, no state."""
