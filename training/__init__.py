"""Makes, measures and exports the models that `model_repository/` holds."""
