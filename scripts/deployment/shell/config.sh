collector --print-config
