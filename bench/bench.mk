# SPDX-License-Identifier: MIT
# Measuring Diosix against the same guests on the machine's own firmware.
#
#   make bench           measure, print the tables, leave $(BUILD)/bench/results.json
#   make bench-compare   the same, and fail if a figure got worse than bench/baseline.json
#   make bench-record    the same, and record it as bench/results.md and bench/baseline.json
#   make bench-profile   where the hypervisor's instructions go, for each row of the micro-benchmarks
#
# BENCH_ONLY="micro sizes" leaves the rest (tree, clones, linux, wall) out.

BENCH      := $(BUILD)/bench
BENCH_ONLY ?=
BENCH_ARCH := -march=rv64imac_zicsr_zifencei -mabi=lp64 -mcmodel=medany -mno-relax -msmall-data-limit=0
BENCH_CFLAGS := -std=gnu11 -O2 -ffreestanding -fno-pic -fno-jump-tables -fno-stack-protector -fno-asynchronous-unwind-tables \
	-Wall -Wextra -Werror -Wshadow -Wmissing-prototypes
BENCH_LDFLAGS := -nostdlib -static -Wl,-n -Wl,--build-id=none -Wl,--no-warn-rwx-segments

$(BENCH)/micro.elf: $(addprefix bench/guest/,start.S traps.S micro.c traps.h)
$(BENCH)/tree.elf: $(addprefix bench/guest/,start.S tree.c) abi/diosix.h
$(BENCH)/micro.elf $(BENCH)/tree.elf: bench/guest/sbi.h bench/guest/link.ld
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CROSS)gcc $(BENCH_ARCH) $(BENCH_CFLAGS) $(BENCH_LDFLAGS) -I. -Wl,-T,bench/guest/link.ld -o $@ \
		$(filter %.S %.c,$^)

$(BENCH)/%.bin: $(BENCH)/%.elf
	$(call say,BIN,$@)$(CROSS)objcopy -O binary $< $@

$(BENCH)/mark $(BENCH)/lxfork: $(BENCH)/%: bench/guest/%.c bench/guest/lxcall.h
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CROSS)gcc $(BENCH_ARCH) $(BENCH_CFLAGS) $(BENCH_LDFLAGS) -s -o $@ $<

$(BENCH)/mmode.so: bench/plugin/mmode.c
	@mkdir -p $(@D)
	$(call say,CC,$@)cc -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

BENCH_TOOLS := $(addprefix $(BENCH)/,micro.bin tree.bin mark lxfork mmode.so)
BENCH_RUN    = $(PYTHON) bench/run --build $(BUILD) --cross $(CROSS) $(BENCH_ONLY:%=--only %)

.PHONY: bench bench-compare bench-record bench-profile
bench bench-compare bench-record bench-profile: $(BENCH_TOOLS) $(BUILD)/hv.elf
# Parts without Linux need no guest.
BENCH_LINUX := $(if $(BENCH_ONLY),$(filter tree clones linux wall,$(BENCH_ONLY)),all)
bench bench-compare bench-record: $(if $(BENCH_LINUX),$(GUEST_IMAGE) $(GUEST_INITRAMFS))

bench:
	@$(BENCH_RUN)

bench-compare:
	@$(BENCH_RUN) --compare bench/baseline.json

bench-record:
	@$(BENCH_RUN) --record bench

bench-profile:
	@$(BENCH_RUN) --profile
