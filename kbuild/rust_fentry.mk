# SPDX-License-Identifier: GPL-2.0-only
#
# Makes Rust functions of an out-of-tree module visible to ftrace on x86-64.
#
# In: rust-fentry-y, the Rust objects of the module, as in <module>-y.
# Out: the same objects, with a call to __fentry__ at the entry of each function,
# which objtool and the module loader then treat like those of C code.
#
# The kernel gives Rust code no such calls on x86-64 (7.3).  So rustc is asked for
# one 5-byte nop at each entry, and in its assembly each of them becomes the call.
# The build fails if one is not where rustc says it is, or if there is none: a
# module that ftrace cannot see would be worse than none.

rust-fentry-patch := $(lastword $(MAKEFILE_LIST:rust_fentry.mk=rust_fentry.awk))

$(foreach o,$(rust-fentry-y), \
	$(eval RUSTFLAGS_$(o) := -Zpatchable-function-entry=5,0) \
	$(eval RUSTFLAGS_$(o:.o=.s) := -Zpatchable-function-entry=5,0))

quiet_cmd_rust_fentry = FENTRY  $@
      cmd_rust_fentry = \
	awk -f $(rust-fentry-patch) $< $< > $(@:.o=.fentry.s) && \
	$(CC) $(a_flags) -Qunused-arguments -c -o $@ $(@:.o=.fentry.s) && \
	$(OBJCOPY) --remove-section=__patchable_function_entries $@ \
	$(cmd_objtool)

$(addprefix $(obj)/,$(rust-fentry-y)): $(obj)/%.o: $(obj)/%.s $(rust-fentry-patch) FORCE
	$(call if_changed,rust_fentry)

targets += $(rust-fentry-y:.o=.s)
