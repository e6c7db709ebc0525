# SPDX-License-Identifier: GPL-2.0-only
#
# Turns the patchable entry of each function in rustc's assembly into a call to __fentry__.
#
# Reads the file twice (awk -v padding=N -f rust_fentry.awk FILE FILE): first the labels that stand in
# the sections __patchable_function_entries, then the code. Such a label stands before the first of
# the nops that -Zpatchable-function-entry=N+5,N asks for: N of one byte, then, in the function, one
# of 5 bytes, which becomes the call. Fails, naming the line, where it finds another instruction,
# where a label is not found, and where there is no label at all.

function fail(message) {
	print FILENAME ":" FNR ": " message > "/dev/stderr"
	failed = 1
	exit 1
}

# First reading: which labels.
NR == FNR {
	if ($1 == ".section")
		in_entries = ($2 ~ /^__patchable_function_entries,/)
	else if ($1 ~ /^\.(text|data|bss|rodata)$/)
		in_entries = 0
	else if (in_entries && $1 == ".quad") {
		entry[$2 ":"] = 1
		wanted++
	}
	next
}

# Second reading: a label was seen, and this is neither blank nor a directive nor a further label.
expected && NF && $1 !~ /^\./ && $1 !~ /:$/ && $1 !~ /^#/ {
	if (before_function) {
		if ($0 !~ /^[ \t]+nop[ \t]*$/)
			fail("expected " before_function " more one-byte nops of -Zpatchable-function-entry, found: " $0)
		before_function--
		print
		next
	}
	# Without padding, the label stands behind it.
	if (padding && $1 == "endbr64") {
		print
		next
	}
	if ($0 !~ /^[ \t]+nopl[ \t]+8\(%rax,%rax\)[ \t]*$/)
		fail("expected the 5-byte nop of -Zpatchable-function-entry, found: " $0)
	print "\tcall\t__fentry__"
	expected = 0
	replaced++
	next
}

$1 in entry {
	if (expected)
		fail("a function ends before its entry was found")
	expected = 1
	before_function = padding + 0
}

{
	print
}

END {
	if (failed)
		exit 1
	if (!wanted)
		fail("no function has an entry that can be made traceable")
	if (replaced != wanted)
		fail(wanted " functions have an entry, but only " replaced + 0 " were made traceable")
}
