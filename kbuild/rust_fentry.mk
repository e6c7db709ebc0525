# SPDX-License-Identifier: GPL-2.0-only
#
# Makes Rust functions of an out-of-tree module visible to ftrace on x86-64.
# docs/rust-fentry.md says how, and why each step is right.
#
# In: rust-fentry-y, the Rust objects of the module, as in <module>-y.
# Out: the same objects, with a call to __fentry__ at the entry of each function,
# which objtool and the module loader then treat like those of C code.
#
# The kernel gives Rust code no such calls on x86-64 (7.3).  So rustc is asked for
# one 5-byte nop at each entry, and in its assembly each of them becomes the call.
# The build fails if one is not where rustc says it is, or if there is none: a
# module that ftrace cannot see would be worse than none.
#
# Without CONFIG_DYNAMIC_FTRACE nothing is done: C code has no such calls either.

ifdef CONFIG_DYNAMIC_FTRACE

ifndef CONFIG_X86_64
$(error rust_fentry.mk is for x86-64 only, and this kernel is for $(SRCARCH))
endif
ifeq ($(strip $(rust-fentry-y)),)
$(error rust_fentry.mk: rust-fentry-y names no object, set it before the include)
endif

rust-fentry-patch := $(lastword $(MAKEFILE_LIST:rust_fentry.mk=rust_fentry.awk))

# With CONFIG_CALL_PADDING, each function of the kernel has nops before its entry,
# which arch/x86/Makefile asks rustc for by the same option; the last one counts.
rust-fentry-padding := $(if $(CONFIG_CALL_PADDING),$(CONFIG_FUNCTION_PADDING_BYTES),0)
rust-fentry-flags := -Zpatchable-function-entry=$(shell expr $(rust-fentry-padding) + 5),$(rust-fentry-padding)

$(foreach o,$(rust-fentry-y), \
	$(eval RUSTFLAGS_$(o) := $(rust-fentry-flags)) \
	$(eval RUSTFLAGS_$(o:.o=.s) := $(rust-fentry-flags)))

# Where there is padding, objtool finds it by the section; elsewhere nothing in the
# kernel has that section.
quiet_cmd_rust_fentry = FENTRY  $@
      cmd_rust_fentry = \
	awk -v padding=$(rust-fentry-padding) -f $(rust-fentry-patch) $< $< \
		> $(@:.o=.fentry.s) && \
	$(CC) $(a_flags) -Qunused-arguments -c -o $@ $(@:.o=.fentry.s) \
	$(if $(CONFIG_CALL_PADDING),, && \
		$(OBJCOPY) --remove-section=__patchable_function_entries $@) \
	$(cmd_objtool)

$(addprefix $(obj)/,$(rust-fentry-y)): $(obj)/%.o: $(obj)/%.s $(rust-fentry-patch) FORCE
	$(call if_changed,rust_fentry)

targets += $(rust-fentry-y:.o=.s)

endif
