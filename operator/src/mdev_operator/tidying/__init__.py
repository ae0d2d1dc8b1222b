"""What is over is taken away: answered entries, Nodes that are gone, entries without an owner."""
