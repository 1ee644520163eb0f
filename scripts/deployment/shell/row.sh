# $node: its row, and since when it runs, as two lines of JSON
collector --json nodes list --all | tr -d '\n'
echo
collector --json entries list --author "$node" --kind agent.started --limit 1 | tr -d '\n'
echo
