# $node
collector --json nodes token "$node"
