"""Every frozen model that carries labels, side by side: published settings and ours, what each costs, and scores."""
