rm -rf "$staging"
