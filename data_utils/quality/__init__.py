"""What patches are like, and which of them are left out."""
