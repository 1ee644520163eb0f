# $index: writes its proof, and checks that with the ledger's policy, as anybody could elsewhere. How many witnesses have signed already is
# not asked: they are the nodes that are being brought up.
at=$(mktemp -d)
trap 'rm -rf "$at"' EXIT
collector ledger policy | sed '/^# sha256 /d; s/^quorum .*/quorum none/' >"$at/policy"
chown -R "$user" "$at"
collector ledger proof "$index" -o "$at/proof" >/dev/null
collector --json verify "$at/proof" --policy "$at/policy"
