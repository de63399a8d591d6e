"""One adapter for each family of networks, all with the methods of `Backbone`."""
