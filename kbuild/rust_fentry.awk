# SPDX-License-Identifier: GPL-2.0-only
#
# Replaces the nop behind each .LpatchN label of rustc's assembly by a call to
# __fentry__.  Fails, naming the line, where the nop is not what it was when this
# was written, and where there is nothing to replace.

expected {
	if ($0 !~ /^[ \t]+nopl[ \t]+8\(%rax,%rax\)[ \t]*$/) {
		printf "%s:%d: expected the 5-byte nop of -Zpatchable-function-entry, found: %s\n", FILENAME, FNR, $0 > "/dev/stderr"
		failed = 1
		exit 1
	}
	print "\tcall\t__fentry__"
	expected = 0
	replaced++
	next
}

/^\.Lpatch[0-9]+:/ {
	expected = 1
}

{
	print
}

END {
	if (!failed && (expected || !replaced)) {
		printf "%s: no function entry to make traceable\n", FILENAME > "/dev/stderr"
		exit 1
	}
	if (failed)
		exit 1
}
