"""What a final model is put to: other patches scored, the model as one file that runs by itself."""
