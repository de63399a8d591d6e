"""What makes maps of pixels from labels of tokens: turbo, fast and exact."""
