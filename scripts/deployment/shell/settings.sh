# The file comes by standard input. $to: its name in /etc/sigilwatch. $mode: 0640, for the program's group, or 0644
umask 077
mkdir -p "$etc"
chmod 0755 "$etc"
cat >"$etc/.$to.new"
chgrp "$user" "$etc/.$to.new"
chmod "$mode" "$etc/.$to.new"
mv "$etc/.$to.new" "$etc/$to"
