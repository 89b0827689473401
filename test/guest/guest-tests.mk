# SPDX-License-Identifier: MIT
# Bare-metal guests that test the hypervisor: build/guest-test/NAME.elf from test/guest/NAME.c and the runtime in
# test/guest/lib. Included by the Makefile, and good alone: make -f test/guest/guest-tests.mk. See test/guest/README.md.

BUILD ?= build
CROSS ?= riscv64-linux-gnu-

GT_ARCH := -march=rv64imac_zicsr_zifencei -mabi=lp64 -mcmodel=medany
# No FP or vector in C: their contents are what some tests are about. Everything is hidden, so that addresses are relative.
GT_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fPIE -fvisibility=hidden -fno-stack-protector -fno-common -mstrict-align \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -msmall-data-limit=0 \
	-Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Itest/guest/lib -I.
GT_LDFLAGS := -nostdlib -pie -Wl,--no-dynamic-linker -Wl,-T,test/guest/lib/guest.ld -Wl,-n -Wl,--build-id=none \
	-Wl,--no-warn-rwx-segments -Wl,-z,notext

GT_LIB_SRCS := $(wildcard test/guest/lib/*.c test/guest/lib/*.S)
GT_LIB_OBJS := $(GT_LIB_SRCS:test/guest/lib/%=$(BUILD)/guest-test/lib/%.o)
GUEST_TESTS := $(patsubst test/guest/%.c,%,$(wildcard test/guest/*.c))
# What guests load from the test disk: guests too, but no tests of their own.
# What runs on plain hardware as well.
PLAIN_TESTS := sv39 tables satp spaces walkrace
GUEST_IMAGES := $(patsubst test/guest/%.c,%,$(wildcard test/guest/image/*.c))

$(BUILD)/guest-test/%.o: test/guest/%
	@mkdir -p $(@D)
	$(CROSS)gcc $(GT_ARCH) $(GT_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/guest-test/%.elf: $(BUILD)/guest-test/%.c.o $(GT_LIB_OBJS) test/guest/lib/guest.ld
	$(CROSS)gcc $(GT_ARCH) $(GT_LDFLAGS) -o $@ $< $(GT_LIB_OBJS)

# As a plain kernel for QEMU's own firmware: what hardware does is what a VM is compared with.
$(BUILD)/guest-test/%.bin: $(BUILD)/guest-test/%.elf
	$(CROSS)objcopy -O binary $< $@

# Kept: they are made on the way and cost nothing to keep.
.SECONDARY: $(GUEST_TESTS:%=$(BUILD)/guest-test/%.c.o) $(GUEST_IMAGES:%=$(BUILD)/guest-test/%.c.o) $(GT_LIB_OBJS)
-include $(wildcard $(BUILD)/guest-test/*.d $(BUILD)/guest-test/lib/*.d $(BUILD)/guest-test/image/*.d)

.PHONY: guest-tests
guest-tests: $(PLAIN_TESTS:%=$(BUILD)/guest-test/%.bin) $(GUEST_TESTS:%=$(BUILD)/guest-test/%.elf) $(GUEST_IMAGES:%=$(BUILD)/guest-test/%.elf)
