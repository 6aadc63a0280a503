"""The lesson that the studio gives: its places, what is said at each, and what is really run there."""
