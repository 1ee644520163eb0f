# The join token comes by standard input. $url, $node
sigilwatch-agent --config "$etc/agent.yaml" --json enroll --collector "$url" --node "$node" --token-file - --executor-dir "$etc"
