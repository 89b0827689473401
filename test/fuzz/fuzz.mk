# SPDX-License-Identifier: MIT
# libFuzzer targets with ASan and UBSan. A target is test/fuzz/fuzz_NAME.c; `fuzz_NAME` lists the hypervisor
# sources it is linked with, `fuzz_NAME_flags` options of libFuzzer. `make fuzz FUZZ_SECONDS=10` runs each for that
# time. What it finds stays in build/fuzz/NAME and is where the next run begins; an input that fails is
# kept as build/fuzz/NAME-*, and `build/fuzz/fuzz_NAME FILE` runs it again.

FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 10
FUZZ_CFLAGS  := -std=gnu11 -g -O1 -Wall -Wextra -Werror -Wshadow -Wno-unused-parameter \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-DDIOSIX_DEBUG=1 -Itest/unit -Ihv -I.

fuzz_decode := hv/riscv/decode.c
fuzz_payload := hv/payload/payload.c
fuzz_payload_flags := -max_len=8192
# Of libfdt what the hypervisor uses is its own copy; what edits the trees may be the machine's.
fuzz_hostfdt := $(addprefix hv/fdt/,host.c tree.c memory.c cpus.c isa_text.c controllers.c console.c devices.c) $(addprefix $(LIBFDT)/,fdt.c fdt_ro.c fdt_sw.c)
fuzz_guestfdt := $(fuzz_hostfdt) hv/fdt/guest.c
fuzz_vplic := hv/vdev/vplic.c
fuzz_vplic_flags := -max_len=2048
fuzz_vuart := hv/vdev/vuart.c
fuzz_shadow := $(unit_vm) hv/mmu/walk.c hv/mmu/shadow.c
fuzz_shadow_flags := -max_len=2000 -len_control=0
fuzz_gstage := $(unit_vm)
fuzz_gstage_flags := -max_len=400 -len_control=0

# The whole hypercall surface, over a real tree of VMs (test/unit/unit.mk).
fuzz_calls := $(unit_calls)
fuzz_calls_flags := -max_len=1500 -len_control=0

FUZZ_TARGETS := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))

$(foreach t,$(FUZZ_TARGETS),$(eval $(BUILD)/fuzz/fuzz_$(t): $(fuzz_$(t))))

$(addprefix $(BUILD)/fuzz/fuzz_,hostfdt guestfdt): FUZZ_CFLAGS += -isystem $(LIBFDT) $(LIBFDT_FLAGS)

$(BUILD)/fuzz/fuzz_%: test/fuzz/fuzz_%.c test/unit/host.c $(wildcard test/unit/*.h hv/*/*.h abi/*.h)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -o $@ $< test/unit/host.c $(fuzz_$*) -lcmocka -lfdt

# Value profiles let it find its way through comparisons with magic numbers.
.PHONY: fuzz $(FUZZ_TARGETS:%=fuzz-%)
fuzz: $(FUZZ_TARGETS:%=fuzz-%)
$(FUZZ_TARGETS:%=fuzz-%): fuzz-%: $(BUILD)/fuzz/fuzz_%
	@mkdir -p $(BUILD)/fuzz/$*
	@$< -max_total_time=$(FUZZ_SECONDS) -use_value_profile=1 -timeout=5 -artifact_prefix=$(BUILD)/fuzz/$*- \
		-print_final_stats=1 $(fuzz_$*_flags) $(BUILD)/fuzz/$* >$(BUILD)/fuzz/$*.log 2>&1 || \
		{ tail -n 60 $(BUILD)/fuzz/$*.log; exit 1; }
	@sed -n 's/^stat::number_of_executed_units: */fuzz $*: inputs tried: /p' $(BUILD)/fuzz/$*.log
