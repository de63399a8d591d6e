"""Where weights come from: the hub, folders and single files; their layout and digests."""
