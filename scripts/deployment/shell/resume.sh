# What ran before goes on, in its new version.
start_again "$staging/before/active"
