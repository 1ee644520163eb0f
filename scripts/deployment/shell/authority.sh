# What a deployment has made, which nodes are to check the collector by.
if [ -f "$etc/collector-ca.pem" ]; then cat "$etc/collector-ca.pem"; fi
