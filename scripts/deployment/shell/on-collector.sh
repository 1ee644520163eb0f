# Commands of the collector, with what its unit has in the environment.
if [ -r "$etc/collector.env" ]; then
  while IFS= read -r line; do
    case $line in [A-Z]*=*) export "${line?}" ;; esac
  done <"$etc/collector.env"
fi
collector() { sigilwatch-collector --config "$etc/collector.yaml" "$@"; }
