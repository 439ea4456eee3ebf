"""Pictures of explanations. Figures are returned, never shown."""
