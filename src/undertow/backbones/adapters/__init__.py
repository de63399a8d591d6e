"""One adapter for each family of networks, all with the protocol of `Backbone`."""
